// Package observability is the files that Prometheus and Grafana need to watch a pool that berthd runs: a configuration,
// rules with their tests, and a dashboard. What they ask for is held against what berthd measures.
package observability
