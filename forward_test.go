package berthage_test

import (
	"context"
	"encoding/json"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/berthage/berthage"
	"github.com/berthage/berthage/hypervisor/fake"
	"github.com/berthage/berthage/pool"
	"github.com/berthage/berthage/quota"
)

// Commands given to a Manager that does not lead are handed to the one that does, with their errors coming
// back as they are; when it does not answer they are committed here.
func TestForward(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx := context.Background()
		scratch := pool.NewMemoryScratch()
		var leader *berthage.Manager
		var cut atomic.Bool
		var calls atomic.Int32
		b := start(t, fake.Config{Hosts: hosts(2)}, func(c *berthage.Config) { c.Scratch, c.Address = scratch, "first" })
		defer b.stop()
		leader = b.m
		second := open(t, b.fleet, b.ledger, func(c *berthage.Config) {
			c.Scratch = scratch
			c.Forward = func(ctx context.Context, address string, command []byte) ([]byte, error) {
				calls.Add(1)
				if cut.Load() {
					return nil, errors.New("connection refused")
				}
				require.Equal(t, "first", address)
				return leader.Accept(ctx, command)
			}
		})
		defer run(t, second)()
		time.Sleep(time.Minute)
		require.True(t, leader.Status().Leading)
		require.False(t, second.Status().Leading)

		i, err := second.As("alice", "req-1").Launch(ctx, berthage.Launch{Token: "a", Project: "shop", Name: "a", Spec: spec()})
		require.NoError(t, err)
		require.Equal(t, "a", i.Name, "the caller reads its own write")
		require.EqualValues(t, 1, calls.Load())
		require.Equal(t, "running", settle(t, second, i.ID).Status())
		var launched pool.Event
		for batch, err := range b.ledger.Read(ctx, i.Launched-1) {
			require.NoError(t, err)
			launched = batch.Events[0]
			break
		}
		require.Equal(t, []string{"alice", "req-1"}, []string{launched.Actor, launched.Cause})

		require.NoError(t, second.PutProject(ctx, pool.Project{Name: "shop", Quota: pool.Resources{pool.Instances: 1}}))
		_, err = second.Launch(ctx, berthage.Launch{Token: "b", Project: "shop", Name: "b", Spec: spec()})
		var exceeded *quota.Exceeded
		require.ErrorAs(t, err, &exceeded)
		require.Equal(t, "shop", exceeded.Project)

		cut.Store(true)
		require.NoError(t, second.PutProject(ctx, pool.Project{Name: "shop"}))
		i, err = second.Launch(ctx, berthage.Launch{Token: "b", Project: "shop", Name: "b", Spec: spec()})
		require.NoError(t, err)
		require.Equal(t, "running", settle(t, second, i.ID).Status(), "the leader sees what it did not commit")

		answer, err := second.Accept(ctx, []byte(`{"command":{"delete":{"instance":"`+string(i.ID)+`"}}}`))
		require.NoError(t, err)
		require.Contains(t, string(answer), pool.ErrNotLeader.Error(), "no second hop")
		for _, bad := range []string{``, `{`, `[]`, `{"command":{}}`, `{"command":{"delete":{},"reboot":{}}}`, `{"command":{"delete":{"instance":"x","keep_disks":true}}}`, `{"command":{"remove":{"image":"x"}}} {}`} {
			answer, err := leader.Accept(ctx, []byte(bad))
			require.NoError(t, err)
			var a struct {
				Error struct{ Kind string }
			}
			require.NoError(t, json.Unmarshal(answer, &a))
			require.Equal(t, "invalid", a.Error.Kind, bad)
		}
	})
}
