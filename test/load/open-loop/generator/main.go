// Command generator asks an HTTP/1.1 server at a fixed rate, whatever is answered. Each connection has its own timetable, evenly spread over that
// of all. A request that is due while its connection still waits for an answer is sent right behind it, and counts from when it was due; one whose
// connection is free counts from when it is written, so that this program's own lateness is not the server's.
//
// Its argument is a JSON object (see order), and it prints one (see result).
package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log"
	"math"
	"net"
	"os"
	"slices"
	"sync"
	"time"
)

type order struct {
	Address     string
	Connections int
	PerSecond   float64
	Seconds     float64
	// The bytes of each request, and the last bytes of each answer.
	Request   string
	AnswerEnd string
}

type result struct {
	Requests int     `json:"requests"`
	P50Ms    float64 `json:"p50Ms"`
	P99Ms    float64 `json:"p99Ms"`
	P999Ms   float64 `json:"p999Ms"`
}

// No answer takes longer, or the run fails.
const answerTimeout = 10 * time.Second

func main() {
	var o order
	if len(os.Args) != 2 {
		log.Fatal("usage: generator ORDER")
	}
	if err := json.Unmarshal([]byte(os.Args[1]), &o); err != nil {
		log.Fatal(err)
	}
	latencies, err := run(o)
	if err != nil {
		log.Fatal(err)
	}
	slices.Sort(latencies)
	quantile := func(share float64) float64 {
		at := min(int(float64(len(latencies))*share), len(latencies)-1)
		return float64(latencies[at]) / float64(time.Millisecond)
	}
	answer := result{len(latencies), quantile(0.5), quantile(0.99), quantile(0.999)}
	if err := json.NewEncoder(os.Stdout).Encode(answer); err != nil {
		log.Fatal(err)
	}
}

func run(o order) ([]time.Duration, error) {
	if o.Connections < 1 || !(o.PerSecond > 0) || !(o.Seconds > 0) {
		return nil, errors.New("connections, perSecond and seconds must be positive")
	}
	conns := make([]net.Conn, o.Connections)
	for at := range conns {
		conn, err := net.Dial("tcp", o.Address)
		if err != nil {
			return nil, err
		}
		defer conn.Close()
		conns[at] = conn
	}
	interval := float64(o.Connections) / o.PerSecond * float64(time.Second)
	each := int(math.Ceil(o.Seconds * o.PerSecond / float64(o.Connections)))
	perConn := make([][]time.Duration, o.Connections)
	errs := make([]error, o.Connections)
	var wg sync.WaitGroup
	startAt := time.Now()
	for at, conn := range conns {
		wg.Add(1)
		go func() {
			defer wg.Done()
			first := startAt.Add(time.Duration(interval * float64(at) / float64(o.Connections)))
			due := func(n int) time.Time { return first.Add(time.Duration(interval * float64(n))) }
			perConn[at], errs[at] = ask(conn, o, each, due)
		}()
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	return slices.Concat(perConn...), nil
}

func ask(conn net.Conn, o order, count int, due func(int) time.Time) ([]time.Duration, error) {
	latencies := make([]time.Duration, 0, count)
	request, end := []byte(o.Request), []byte(o.AnswerEnd)
	answer := make([]byte, 64*1024)
	for n := range count {
		begun := due(n)
		if wait := time.Until(begun); wait > 0 {
			time.Sleep(wait)
			begun = time.Now()
		}
		if err := conn.SetDeadline(time.Now().Add(answerTimeout)); err != nil {
			return nil, err
		}
		if _, err := conn.Write(request); err != nil {
			return nil, err
		}
		length := 0
		for !bytes.HasSuffix(answer[:length], end) {
			if length == len(answer) {
				return nil, fmt.Errorf("the answer does not end as it should: %.200q", answer)
			}
			more, err := conn.Read(answer[length:])
			if err != nil {
				return nil, fmt.Errorf("after %d answers, %d bytes into the next: %w", n, length, err)
			}
			length += more
		}
		if !bytes.HasPrefix(answer[:length], []byte("HTTP/1.1 200 ")) {
			return nil, fmt.Errorf("the answer was %.200q", answer[:length])
		}
		latencies = append(latencies, time.Since(begun))
	}
	return latencies, nil
}
