package main

import (
	"bufio"
	"context"
	"encoding/binary"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
)

// Connections that are being opened at once; the listen queue of a server is bounded.
const openingMax = 100

// fleet is all data planes together.
type fleet struct {
	target    string
	group     string
	clusters  int
	streams   []*stream
	synced    sync.WaitGroup
	recording *recording
	measure   atomic.Pointer[measurement]

	numbersMu sync.RWMutex
	numbers   map[string]int
}

// start opens all streams and returns when each has all clusters and endpoints. An error of a stream, at any time, goes to failed.
func (f *fleet) start(ctx context.Context, streams int, failed func(error)) {
	f.synced.Add(streams)
	opening := make(chan struct{}, openingMax)
	for at := range streams {
		one := &stream{fleet: f, at: at}
		f.streams = append(f.streams, one)
		opening <- struct{}{}
		go func() {
			err := one.open(ctx)
			<-opening
			if err == nil {
				err = one.run()
			}
			failed(fmt.Errorf("stream %d: %w", at, err))
		}()
	}
	f.synced.Wait()
}

// number gives each cluster's name a number, so that a thousand streams need no thousand sets of names.
func (f *fleet) number(name []byte) int {
	f.numbersMu.RLock()
	number, known := f.numbers[string(name)]
	f.numbersMu.RUnlock()
	if known {
		return number
	}
	f.numbersMu.Lock()
	defer f.numbersMu.Unlock()
	if number, known := f.numbers[string(name)]; known {
		return number
	}
	f.numbers[string(name)] = len(f.numbers)
	return len(f.numbers) - 1
}

// saw tells the measurement under way, if there is one, what a stream has received.
func (f *fleet) saw(stream int, typeURL string, name []byte) {
	if m := f.measure.Load(); m != nil && m.typeURL == typeURL && m.name == string(name) {
		m.note(stream)
	}
}

// recording writes resources to a file, each behind its length; the server of the same folder reads it.
type recording struct {
	file   *os.File
	writer *bufio.Writer
}

func record(path string) (*recording, error) {
	file, err := os.Create(path)
	if err != nil {
		return nil, err
	}
	return &recording{file: file, writer: bufio.NewWriter(file)}, nil
}

func (r *recording) add(resources [][]byte) error {
	for _, encoded := range resources {
		if _, err := r.writer.Write(binary.AppendUvarint(nil, uint64(len(encoded)))); err != nil {
			return err
		}
		if _, err := r.writer.Write(encoded); err != nil {
			return err
		}
	}
	return nil
}

func (r *recording) close() error {
	if err := r.writer.Flush(); err != nil {
		return err
	}
	return r.file.Close()
}
