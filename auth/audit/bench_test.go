package audit_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/berthage/berthage/auth/audit"
	"github.com/berthage/berthage/pool"
)

// BenchmarkAdd is what an event costs a Log, beside the hash that stores make of it anyway.
func BenchmarkAdd(b *testing.B) {
	e := pool.Event{ID: "e", Kind: "test.event", Version: 1, Actor: "ada", Data: make([]byte, 400)}
	b.Run("leaf", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			_ = e.Leaf()
		}
	})
	b.Run("log", func(b *testing.B) {
		b.ReportAllocs()
		var log audit.Log
		for b.Loop() {
			e.Revision++
			require.NoError(b, log.Add(pool.Batch{Revision: e.Revision, Events: []pool.Event{e}}))
		}
	})
}

// BenchmarkProof is what a proof costs in a ledger of 100,000 events in memory, and checking it.
func BenchmarkProof(b *testing.B) {
	log := &audit.Log{History: audit.Of(filled(b, 100_000))}
	require.NoError(b, log.Follow(b.Context()))
	root, err := log.Root(b.Context(), log.Size())
	require.NoError(b, err)
	var leaf int64
	b.Run("inclusion", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			leaf = (leaf + 7919) % log.Size()
			_, err := log.Inclusion(b.Context(), leaf, log.Size())
			require.NoError(b, err)
		}
	})
	b.Run("consistency", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			leaf = (leaf + 7919) % log.Size()
			_, err := log.Consistency(b.Context(), leaf, log.Size())
			require.NoError(b, err)
		}
	})
	b.Run("verify", func(b *testing.B) {
		_, e, err := log.Find(b.Context(), audit.Position{Revision: 1000})
		require.NoError(b, err)
		index, _, err := log.Find(b.Context(), audit.Position{Revision: 1000})
		require.NoError(b, err)
		proof, err := log.Inclusion(b.Context(), index, log.Size())
		require.NoError(b, err)
		b.ReportAllocs()
		for b.Loop() {
			require.NoError(b, audit.VerifyInclusion(e.Leaf(), index, log.Size(), root, proof))
		}
	})
}
