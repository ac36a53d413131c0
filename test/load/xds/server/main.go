// Command server serves recorded resources by go-control-plane's snapshot cache, as its users do: one snapshot for a group of nodes, made
// anew and set whole for each change. Every node of the same cluster shares the snapshot, which is the cheapest way to use the cache.
//
// POST /change?name=N&port=P on the control address moves the first endpoint of the cluster N to the port P; POST /add?from=N&name=M adds
// a cluster M, with endpoints, made like N. Both answer once the snapshot is set.
package main

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"strconv"
	"sync"

	cluster "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	endpoint "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	discovery "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"github.com/envoyproxy/go-control-plane/pkg/cache/types"
	"github.com/envoyproxy/go-control-plane/pkg/cache/v3"
	"github.com/envoyproxy/go-control-plane/pkg/resource/v3"
	"github.com/envoyproxy/go-control-plane/pkg/server/v3"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/encoding/protodelim"
	"google.golang.org/protobuf/proto"
)

func main() {
	xds := flag.String("xds", "127.0.0.1:0", "address of the xDS port")
	control := flag.String("control", "127.0.0.1:0", "address that takes changes")
	file := flag.String("resources", "", "resources that the client has recorded")
	group := flag.String("group", "", "the nodes' cluster")
	flag.Parse()

	served, err := load(*file, *group)
	if err != nil {
		log.Fatal(err)
	}
	if err := served.publish(context.Background()); err != nil {
		log.Fatal(err)
	}
	xdsListener, err := net.Listen("tcp", *xds)
	if err != nil {
		log.Fatal(err)
	}
	controlListener, err := net.Listen("tcp", *control)
	if err != nil {
		log.Fatal(err)
	}
	ads := grpc.NewServer()
	discovery.RegisterAggregatedDiscoveryServiceServer(ads, server.NewServer(context.Background(), served.cache, nil))
	go func() { log.Fatal(http.Serve(controlListener, served.handler())) }()
	fmt.Printf("{\"xds\":%q,\"control\":%q}\n", xdsListener.Addr(), controlListener.Addr())
	log.Fatal(ads.Serve(xdsListener))
}

// byCluster gives all nodes of a cluster the same snapshot.
type byCluster struct{}

func (byCluster) ID(node *core.Node) string { return node.GetCluster() }

// state is what the next snapshot is made of.
type state struct {
	mu        sync.Mutex
	group     string
	cache     cache.SnapshotCache
	revision  int
	clusters  []types.Resource
	endpoints []types.Resource
	clusterAt map[string]int
	// Each set of endpoints by its cluster's name.
	endpointsAt map[string]int
}

// load reads the resources of a recording: messages of type Resource, each behind its length.
func load(file, group string) (*state, error) {
	in, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer in.Close()
	s := &state{
		group:       group,
		cache:       cache.NewSnapshotCache(true, byCluster{}, nil),
		clusterAt:   map[string]int{},
		endpointsAt: map[string]int{},
	}
	for reader := bufio.NewReader(in); ; {
		recorded := &discovery.Resource{}
		if err := (protodelim.UnmarshalOptions{MaxSize: -1}).UnmarshalFrom(reader, recorded); errors.Is(err, io.EOF) {
			return s, nil
		} else if err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
		message, err := recorded.GetResource().UnmarshalNew()
		if err != nil {
			return nil, fmt.Errorf("%s: %s: %w", file, recorded.GetName(), err)
		}
		s.put(message)
	}
}

// put adds a resource or replaces the one of its name.
func (s *state) put(message proto.Message) {
	list, at := &s.clusters, s.clusterAt
	if _, is := message.(*endpoint.ClusterLoadAssignment); is {
		list, at = &s.endpoints, s.endpointsAt
	}
	name := cache.GetResourceName(message)
	if index, known := at[name]; known {
		(*list)[index] = message
		return
	}
	at[name] = len(*list)
	*list = append(*list, message)
}

// publish makes a snapshot of all resources and sets it.
func (s *state) publish(ctx context.Context) error {
	s.revision++
	snapshot, err := cache.NewSnapshot(strconv.Itoa(s.revision), map[resource.Type][]types.Resource{
		resource.ClusterType:  s.clusters,
		resource.EndpointType: s.endpoints,
	})
	if err != nil {
		return err
	}
	return s.cache.SetSnapshot(ctx, s.group, snapshot)
}

// endpointsOf copies a set of endpoints, since those in a snapshot may not change.
func (s *state) endpointsOf(name string) (*endpoint.ClusterLoadAssignment, error) {
	index, known := s.endpointsAt[name]
	if !known {
		return nil, fmt.Errorf("no cluster %s", name)
	}
	return proto.Clone(s.endpoints[index]).(*endpoint.ClusterLoadAssignment), nil
}

func (s *state) change(name string, port uint64) error {
	changed, err := s.endpointsOf(name)
	if err != nil {
		return err
	}
	first := changed.GetEndpoints()[0].GetLbEndpoints()[0].GetEndpoint().GetAddress().GetSocketAddress()
	first.PortSpecifier = &core.SocketAddress_PortValue{PortValue: uint32(port)}
	s.put(changed)
	return nil
}

func (s *state) add(from, name string) error {
	endpoints, err := s.endpointsOf(from)
	if err != nil {
		return err
	}
	added := proto.Clone(s.clusters[s.clusterAt[from]]).(*cluster.Cluster)
	added.Name = name
	endpoints.ClusterName = name
	s.put(added)
	s.put(endpoints)
	return nil
}

func (s *state) handler() http.Handler {
	mux := http.NewServeMux()
	write := func(pattern string, apply func(*http.Request) error) {
		mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
			s.mu.Lock()
			defer s.mu.Unlock()
			err := apply(r)
			if err == nil {
				err = s.publish(r.Context())
			}
			if err != nil {
				http.Error(w, err.Error(), http.StatusBadRequest)
			}
		})
	}
	write("POST /change", func(r *http.Request) error {
		port, err := strconv.ParseUint(r.FormValue("port"), 10, 16)
		if err != nil {
			return err
		}
		return s.change(r.FormValue("name"), port)
	})
	write("POST /add", func(r *http.Request) error { return s.add(r.FormValue("from"), r.FormValue("name")) })
	return mux
}
