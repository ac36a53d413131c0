package main

import (
	"context"
	"fmt"

	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	discovery "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"github.com/envoyproxy/go-control-plane/pkg/resource/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/proto"
)

const method = "/envoy.service.discovery.v3.AggregatedDiscoveryService/DeltaAggregatedResources"

// Windows as large as Envoy's, so that none of the measured time is spent on waiting for them.
const (
	streamWindow     = 16 << 20
	connectionWindow = 24 << 20
)

// stream is one data plane: a delta ADS stream on a connection of its own, that wants all clusters and the endpoints of each.
type stream struct {
	fleet *fleet
	at    int
	call  grpc.ClientStream
	// Clusters whose endpoints have come, by their number in the fleet.
	held  []bool
	count int
}

// open connects and asks for all clusters. The connection is closed with the program.
func (s *stream) open(ctx context.Context) error {
	conn, err := grpc.NewClient(s.fleet.target,
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithInitialWindowSize(streamWindow),
		grpc.WithInitialConnWindowSize(connectionWindow),
		grpc.WithDefaultCallOptions(grpc.ForceCodecV2(raw{}), grpc.MaxCallRecvMsgSize(1<<30), grpc.WaitForReady(true)),
	)
	if err != nil {
		return err
	}
	s.call, err = conn.NewStream(ctx, &grpc.StreamDesc{ServerStreams: true, ClientStreams: true}, method)
	if err != nil {
		return err
	}
	return s.send(&discovery.DeltaDiscoveryRequest{
		Node:                   &core.Node{Id: fmt.Sprintf("load-%d", s.at), Cluster: s.fleet.group},
		TypeUrl:                resource.ClusterType,
		ResourceNamesSubscribe: []string{"*"},
	})
}

// run accepts whatever comes, until the stream ends.
func (s *stream) run() error {
	for {
		var buffer mem.Buffer
		if err := s.call.RecvMsg(&buffer); err != nil {
			return err
		}
		err := s.receive(buffer.ReadOnlyData())
		buffer.Free()
		if err != nil {
			return err
		}
	}
}

func (s *stream) receive(message []byte) error {
	got, err := parseResponse(message)
	if err != nil {
		return err
	}
	if err := s.send(&discovery.DeltaDiscoveryRequest{TypeUrl: got.typeURL, ResponseNonce: got.nonce}); err != nil {
		return err
	}
	if s.at == 0 && s.fleet.recording != nil {
		if err := s.fleet.recording.add(got.resources); err != nil {
			return err
		}
	}
	var names []string
	for _, encoded := range got.resources {
		name, err := nameOf(encoded)
		if err != nil {
			return err
		}
		if got.typeURL == resource.ClusterType {
			names = append(names, string(name))
		} else {
			s.hold(name)
		}
		s.fleet.saw(s.at, got.typeURL, name)
	}
	if len(names) == 0 {
		return nil
	}
	// A new cluster's endpoints are asked for when it has come, as Envoy does.
	return s.send(&discovery.DeltaDiscoveryRequest{TypeUrl: resource.EndpointType, ResourceNamesSubscribe: names})
}

// hold counts a cluster whose endpoints have come.
func (s *stream) hold(name []byte) {
	number := s.fleet.number(name)
	for len(s.held) <= number {
		s.held = append(s.held, false)
	}
	if s.held[number] {
		return
	}
	s.held[number] = true
	s.count++
	if s.count == s.fleet.clusters {
		s.fleet.synced.Done()
	}
}

func (s *stream) send(request *discovery.DeltaDiscoveryRequest) error {
	bytes, err := proto.Marshal(request)
	if err != nil {
		return err
	}
	return s.call.SendMsg(bytes)
}
