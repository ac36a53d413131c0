package main

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"slices"
	"sync"
	"time"
)

const changeTimeout = 120 * time.Second

// command asks for one measurement: make the request, and wait until every stream has received the resource.
type command struct {
	TypeURL string            `json:"typeUrl"`
	Name    string            `json:"name"`
	URL     string            `json:"url"`
	Headers map[string]string `json:"headers"`
	Body    string            `json:"body"`
}

// outcome is how long that took, from the moment before the request.
type outcome struct {
	AnsweredMs float64 `json:"answeredMs"`
	FirstMs    float64 `json:"firstMs"`
	MedianMs   float64 `json:"medianMs"`
	LastMs     float64 `json:"lastMs"`
}

// measurement is one under way.
type measurement struct {
	typeURL string
	name    string
	startAt time.Time

	mu      sync.Mutex
	seen    []bool
	tookMs  []float64
	pending int
	done    chan struct{}
}

// note says that a stream has received the resource; only its first time counts.
func (m *measurement) note(stream int) {
	tookMs := milliseconds(time.Since(m.startAt))
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.seen[stream] {
		return
	}
	m.seen[stream] = true
	m.tookMs = append(m.tookMs, tookMs)
	if m.pending--; m.pending == 0 {
		close(m.done)
	}
}

// run makes the change and waits for the last stream.
func (f *fleet) run(c command) (outcome, error) {
	count := len(f.streams)
	request, err := http.NewRequest(http.MethodPost, c.URL, bytes.NewReader([]byte(c.Body)))
	if err != nil {
		return outcome{}, err
	}
	for name, value := range c.Headers {
		request.Header.Set(name, value)
	}
	m := &measurement{
		typeURL: c.TypeURL,
		name:    c.Name,
		startAt: time.Now(),
		seen:    make([]bool, count),
		pending: count,
		done:    make(chan struct{}),
	}
	f.measure.Store(m)
	defer f.measure.Store(nil)
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		return outcome{}, err
	}
	body, err := io.ReadAll(answer.Body)
	answer.Body.Close()
	if err != nil {
		return outcome{}, err
	}
	answeredMs := milliseconds(time.Since(m.startAt))
	if answer.StatusCode != http.StatusOK {
		return outcome{}, fmt.Errorf("the change was answered by %s: %s", answer.Status, body)
	}
	select {
	case <-m.done:
	case <-time.After(changeTimeout):
		return outcome{}, fmt.Errorf("some streams have not received %s after %s", c.Name, changeTimeout)
	}
	slices.Sort(m.tookMs)
	return outcome{
		AnsweredMs: answeredMs,
		FirstMs:    m.tookMs[0],
		MedianMs:   m.tookMs[len(m.tookMs)/2],
		LastMs:     m.tookMs[len(m.tookMs)-1],
	}, nil
}

func milliseconds(duration time.Duration) float64 { return float64(duration.Microseconds()) / 1000 }
