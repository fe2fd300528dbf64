//go:build programs

// Package cluster names what is built of other modules beside the tools of go.mod, so that
// `go mod tidy` keeps what it needs: the upstream end-to-end tests are no program.
package cluster

import (
	_ "k8s.io/kubernetes/test/e2e"
)
