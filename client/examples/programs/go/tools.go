//go:build tools

// Package main names here the generators that generate.sh runs, so that go.mod pins their versions.
package main

import (
	_ "google.golang.org/grpc/cmd/protoc-gen-go-grpc"
	_ "google.golang.org/protobuf/cmd/protoc-gen-go"
)
