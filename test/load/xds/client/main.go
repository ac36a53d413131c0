// Command client is a fleet of data planes, for the measurement of an xDS server: delta ADS streams, each on a connection of its own.
//
// It prints {"syncedMs":…} when every stream has all clusters and their endpoints. Then it reads commands, a JSON object a line, and prints
// how long each change took to reach the streams. It ends with its input.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"flag"
	"log"
	"os"
	"time"
)

func main() {
	f := &fleet{numbers: map[string]int{}}
	flag.StringVar(&f.target, "target", "", "address of the xDS port")
	flag.StringVar(&f.group, "group", "default", "the nodes' cluster")
	flag.IntVar(&f.clusters, "clusters", 1, "how many clusters the server has")
	streams := flag.Int("streams", 1, "how many data planes to be")
	file := flag.String("record", "", "file to write the resources of the first sync to")
	flag.Parse()

	if *file != "" {
		recording, err := record(*file)
		if err != nil {
			log.Fatal(err)
		}
		f.recording = recording
	}
	output := json.NewEncoder(os.Stdout)
	print := func(value any) {
		if err := output.Encode(value); err != nil {
			log.Fatal(err)
		}
	}
	startAt := time.Now()
	f.start(context.Background(), *streams, func(err error) { log.Fatal(err) })
	if f.recording != nil {
		if err := f.recording.close(); err != nil {
			log.Fatal(err)
		}
		return
	}
	print(map[string]float64{"syncedMs": milliseconds(time.Since(startAt))})
	input := json.NewDecoder(bufio.NewReader(os.Stdin))
	for input.More() {
		var c command
		if err := input.Decode(&c); err != nil {
			log.Fatal(err)
		}
		result, err := f.run(c)
		if err != nil {
			log.Fatal(err)
		}
		print(result)
	}
}
