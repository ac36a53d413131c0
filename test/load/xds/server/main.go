// Command server serves recorded resources by go-control-plane's snapshot cache, as its users do: one snapshot for a group of nodes, made
// anew and set whole for each change. Every node of the same cluster shares the snapshot, which is the cheapest way to use the cache.
//
// The control address takes changes, and answers each once the snapshot is set:
//
//	POST /change?name=N&port=P    moves the first endpoint of the cluster N to the port P
//	POST /add?from=N&name=M       adds a cluster M, with endpoints, made like N
//	POST /put                     adds or replaces the resource in the body, an encoded Any
//	POST /remove?type=T&name=N    removes a resource
//	GET /refusals                 what clients have refused so far, a JSON list of their reasons
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"maps"
	"net"
	"net/http"
	"os"
	"slices"
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
	"google.golang.org/protobuf/types/known/anypb"

	// Their types must be known to be read from an Any.
	_ "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	_ "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	_ "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/router/v3"
	_ "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
)

func main() {
	xds := flag.String("xds", "127.0.0.1:0", "address of the xDS port")
	control := flag.String("control", "127.0.0.1:0", "address that takes changes")
	file := flag.String("resources", "", "resources that the client has recorded; without it there are none at first")
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
	callbacks := server.CallbackFuncs{StreamDeltaRequestFunc: func(_ int64, request *discovery.DeltaDiscoveryRequest) error {
		if refusal := request.GetErrorDetail(); refusal != nil {
			served.refused(refusal.GetMessage())
		}
		return nil
	}}
	discovery.RegisterAggregatedDiscoveryServiceServer(ads, server.NewServer(context.Background(), served.cache, callbacks))
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
	resources map[resource.Type]map[string]types.Resource
	// Refusals have a lock of their own: the cache calls back while a snapshot is set.
	refusalsMu sync.Mutex
	refusals   []string
}

// load reads the resources of a recording: messages of type Resource, each behind its length.
func load(file, group string) (*state, error) {
	s := &state{
		group:     group,
		cache:     cache.NewSnapshotCache(true, byCluster{}, nil),
		resources: map[resource.Type]map[string]types.Resource{},
	}
	if file == "" {
		return s, nil
	}
	in, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer in.Close()
	for reader := bufio.NewReader(in); ; {
		recorded := &discovery.Resource{}
		if err := (protodelim.UnmarshalOptions{MaxSize: -1}).UnmarshalFrom(reader, recorded); errors.Is(err, io.EOF) {
			return s, nil
		} else if err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
		if err := s.put(recorded.GetResource()); err != nil {
			return nil, fmt.Errorf("%s: %s: %w", file, recorded.GetName(), err)
		}
	}
}

// put adds a resource or replaces the one of its name.
func (s *state) put(encoded *anypb.Any) error {
	message, err := encoded.UnmarshalNew()
	if err != nil {
		return err
	}
	s.set(encoded.GetTypeUrl(), message)
	return nil
}

func (s *state) set(typeURL string, message types.Resource) {
	if s.resources[typeURL] == nil {
		s.resources[typeURL] = map[string]types.Resource{}
	}
	s.resources[typeURL][cache.GetResourceName(message)] = message
}

func (s *state) refused(reason string) {
	s.refusalsMu.Lock()
	defer s.refusalsMu.Unlock()
	s.refusals = append(s.refusals, reason)
}

// publish makes a snapshot of all resources and sets it.
func (s *state) publish(ctx context.Context) error {
	s.revision++
	lists := map[resource.Type][]types.Resource{}
	for typeURL, byName := range s.resources {
		lists[typeURL] = slices.Collect(maps.Values(byName))
	}
	snapshot, err := cache.NewSnapshot(strconv.Itoa(s.revision), lists)
	if err != nil {
		return err
	}
	return s.cache.SetSnapshot(ctx, s.group, snapshot)
}

// endpointsOf copies a set of endpoints, since those in a snapshot may not change.
func (s *state) endpointsOf(name string) (*endpoint.ClusterLoadAssignment, error) {
	endpoints, known := s.resources[resource.EndpointType][name]
	if !known {
		return nil, fmt.Errorf("no cluster %s", name)
	}
	return proto.Clone(endpoints).(*endpoint.ClusterLoadAssignment), nil
}

func (s *state) change(name string, port uint64) error {
	changed, err := s.endpointsOf(name)
	if err != nil {
		return err
	}
	first := changed.GetEndpoints()[0].GetLbEndpoints()[0].GetEndpoint().GetAddress().GetSocketAddress()
	first.PortSpecifier = &core.SocketAddress_PortValue{PortValue: uint32(port)}
	s.set(resource.EndpointType, changed)
	return nil
}

func (s *state) add(from, name string) error {
	endpoints, err := s.endpointsOf(from)
	if err != nil {
		return err
	}
	added := proto.Clone(s.resources[resource.ClusterType][from]).(*cluster.Cluster)
	added.Name = name
	endpoints.ClusterName = name
	s.set(resource.ClusterType, added)
	s.set(resource.EndpointType, endpoints)
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
	write("POST /put", func(r *http.Request) error {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return err
		}
		encoded := &anypb.Any{}
		if err := proto.Unmarshal(body, encoded); err != nil {
			return err
		}
		return s.put(encoded)
	})
	write("POST /remove", func(r *http.Request) error {
		delete(s.resources[r.FormValue("type")], r.FormValue("name"))
		return nil
	})
	mux.HandleFunc("GET /refusals", func(w http.ResponseWriter, r *http.Request) {
		s.refusalsMu.Lock()
		defer s.refusalsMu.Unlock()
		if err := json.NewEncoder(w).Encode(append([]string{}, s.refusals...)); err != nil {
			log.Print(err)
		}
	})
	return mux
}
