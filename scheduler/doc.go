// Package scheduler chooses the host for an instance.
package scheduler
