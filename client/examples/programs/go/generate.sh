#!/bin/sh
# Makes the package scalpelv1 from proto/, with protoc and the two plugins that go.mod pins.
set -eu
cd "$(dirname "$0")"
GOBIN=$PWD/bin go install \
  google.golang.org/protobuf/cmd/protoc-gen-go google.golang.org/grpc/cmd/protoc-gen-go-grpc

options=
for file in ../../../../proto/scalpel/v1/*.proto; do
  options="$options,Mscalpel/v1/${file##*/}=scalpel-example/scalpelv1"
done
PATH=$PWD/bin:$PATH protoc -I ../../../../proto \
  --go_out=. --go_opt="module=scalpel-example$options" \
  --go-grpc_out=. --go-grpc_opt="module=scalpel-example$options" \
  ../../../../proto/scalpel/v1/*.proto
