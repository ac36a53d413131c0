package main

import (
	"fmt"

	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/encoding/protowire"
)

// raw is a codec that leaves messages as bytes: the client must cost little beside the server that it measures.
type raw struct{}

func (raw) Name() string { return "proto" }

func (raw) Marshal(v any) (mem.BufferSlice, error) {
	return mem.BufferSlice{mem.SliceBuffer(v.([]byte))}, nil
}

// Unmarshal hands over a buffer that the receiver frees.
func (raw) Unmarshal(data mem.BufferSlice, v any) error {
	*v.(*mem.Buffer) = data.MaterializeToBuffer(mem.DefaultBufferPool())
	return nil
}

// Fields of DeltaDiscoveryResponse and of the Resource in it.
const (
	responseResources = 2
	responseTypeURL   = 4
	responseNonce     = 5
	resourceName      = 3
)

// response is what the client looks at in a DeltaDiscoveryResponse. The slices point into the message.
type response struct {
	typeURL string
	nonce   string
	// Encoded messages of type Resource.
	resources [][]byte
}

func parseResponse(message []byte) (response, error) {
	var parsed response
	err := eachField(message, func(field protowire.Number, value []byte) {
		switch field {
		case responseResources:
			parsed.resources = append(parsed.resources, value)
		case responseTypeURL:
			parsed.typeURL = string(value)
		case responseNonce:
			parsed.nonce = string(value)
		}
	})
	return parsed, err
}

// nameOf returns the name in an encoded Resource, as a slice of it.
func nameOf(resource []byte) ([]byte, error) {
	var name []byte
	err := eachField(resource, func(field protowire.Number, value []byte) {
		if field == resourceName {
			name = value
		}
	})
	return name, err
}

// eachField calls back for each length-delimited field of a message, without a look into it.
func eachField(message []byte, found func(field protowire.Number, value []byte)) error {
	for len(message) > 0 {
		field, kind, size := protowire.ConsumeTag(message)
		if size < 0 {
			return fmt.Errorf("a malformed message: %w", protowire.ParseError(size))
		}
		message = message[size:]
		if kind == protowire.BytesType {
			value, size := protowire.ConsumeBytes(message)
			if size < 0 {
				return fmt.Errorf("a malformed message: %w", protowire.ParseError(size))
			}
			found(field, value)
			message = message[size:]
			continue
		}
		size = protowire.ConsumeFieldValue(field, kind, message)
		if size < 0 {
			return fmt.Errorf("a malformed message: %w", protowire.ParseError(size))
		}
		message = message[size:]
	}
	return nil
}
