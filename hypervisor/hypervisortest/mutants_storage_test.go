package hypervisortest_test

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/berthage/berthage/hypervisor"
	"github.com/berthage/berthage/hypervisor/hypervisortest"
	"github.com/berthage/berthage/pool"
)

func aboutStorage() []mutant { return slices.Concat(aboutShelves(), aboutSnapshots()) }

func aboutShelves() []mutant {
	shelve := func(f func(d *tampered, ctx context.Context, r hypervisor.Ref) error) func(*tampered) {
		return func(d *tampered) {
			d.shelve = func(ctx context.Context, r hypervisor.Ref) error { return f(d, ctx, r) }
		}
	}
	unshelve := func(f func(d *tampered, ctx context.Context, o hypervisor.Order, from hypervisor.Ref) error) func(*tampered) {
		return func(d *tampered) {
			d.unshelve = func(ctx context.Context, o hypervisor.Order, from hypervisor.Ref) error { return f(d, ctx, o, from) }
		}
	}
	discard := func(f func(d *tampered, ctx context.Context, r hypervisor.Ref) error) func(*tampered) {
		return func(d *tampered) {
			d.discard = func(ctx context.Context, r hypervisor.Ref) error { return f(d, ctx, r) }
		}
	}
	// ofAny returns the tag under which the machine's disks have been put aside, whoever asks.
	ofAny := func(d *tampered, r hypervisor.Ref) hypervisor.Ref {
		for _, m := range d.Shelf() {
			if m.Machine == r.Machine {
				return m.Ref
			}
		}
		return r
	}
	return []mutant{
		{caught: "shelve", how: "stays on its host", tamper: shelve(func(*tampered, context.Context, hypervisor.Ref) error { return nil })},
		{caught: "shelve", how: "the second time is an error", tamper: shelve(func(d *tampered, ctx context.Context, r hypervisor.Ref) error {
			if _, ok := d.listed(ctx, r); !ok {
				return kind(hypervisor.ErrNotFound)
			}
			return d.Driver.Shelve(ctx, r)
		})},
		{caught: "shelve", how: "switched off first", tamper: shelve(func(d *tampered, ctx context.Context, r hypervisor.Ref) error {
			_ = d.Driver.Stop(ctx, r)
			return d.Driver.Shelve(ctx, r)
		})},
		{caught: "shelve", how: "what never was", tamper: shelve(func(d *tampered, ctx context.Context, r hypervisor.Ref) error {
			if err := d.Driver.Shelve(ctx, r); !errors.Is(err, hypervisor.ErrNotFound) {
				return err
			}
			return nil
		})},
		{caught: "shelve", how: "unshelved from the image", tamper: unshelve(func(d *tampered, ctx context.Context, o hypervisor.Order, _ hypervisor.Ref) error {
			return d.Driver.Create(ctx, o)
		})},
		{caught: "shelve", how: "unshelved running", tamper: unshelve(func(d *tampered, ctx context.Context, o hypervisor.Order, from hypervisor.Ref) error {
			return errors.Join(d.Driver.Unshelve(ctx, o, from), d.Driver.Start(ctx, o.Ref))
		})},
		{caught: "shelve", how: "unshelved twice", tamper: unshelve(func(d *tampered, ctx context.Context, o hypervisor.Order, from hypervisor.Ref) error {
			if err := d.Driver.Unshelve(ctx, o, from); !errors.Is(err, hypervisor.ErrExists) {
				return err
			}
			return nil
		})},
		{caught: "shelve", how: "unshelved where it was too", tamper: unshelve(func(d *tampered, ctx context.Context, o hypervisor.Order, from hypervisor.Ref) error {
			again := o
			again.Ref = from
			_ = d.Driver.Unshelve(ctx, again, from)
			return d.Driver.Unshelve(ctx, o, from)
		})},
		{caught: "shelf", how: "used up", tamper: unshelve(func(d *tampered, ctx context.Context, o hypervisor.Order, from hypervisor.Ref) error {
			err := d.Driver.Unshelve(ctx, o, from)
			if err == nil {
				_ = d.Driver.Discard(ctx, from)
			}
			return err
		})},
		{caught: "shelf", how: "made anew when there is nothing", tamper: unshelve(func(d *tampered, ctx context.Context, o hypervisor.Order, from hypervisor.Ref) error {
			if err := d.Driver.Unshelve(ctx, o, from); !errors.Is(err, hypervisor.ErrRefused) {
				return err
			}
			return d.Driver.Create(ctx, o)
		})},
		{caught: "shelf", how: "another's", tamper: unshelve(func(d *tampered, ctx context.Context, o hypervisor.Order, from hypervisor.Ref) error {
			return d.Driver.Unshelve(ctx, o, ofAny(d, from))
		})},
		{caught: "shelf", how: "discards another's", tamper: discard(func(d *tampered, ctx context.Context, r hypervisor.Ref) error {
			return d.Driver.Discard(ctx, ofAny(d, r))
		})},
		{caught: "shelf", how: "discards the machine", tamper: discard(func(d *tampered, ctx context.Context, r hypervisor.Ref) error {
			return errors.Join(d.Driver.Discard(ctx, r), d.Driver.Destroy(ctx, r))
		})},
		{caught: "shelf", how: "nothing to discard is an error", tamper: discard(func(d *tampered, ctx context.Context, r hypervisor.Ref) error {
			if ofAny(d, r) == r && len(d.Shelf()) == 0 {
				return kind(hypervisor.ErrNotFound)
			}
			return d.Driver.Discard(ctx, r)
		})},
		{caught: "shelf", how: "discards nothing", tamper: discard(func(*tampered, context.Context, hypervisor.Ref) error { return nil })},
		{caught: "shelf", how: "goes with the machine", tamper: func(d *tampered) {
			d.destroy = func(ctx context.Context, r hypervisor.Ref) error {
				for _, m := range d.Shelf() {
					if a, _, _ := m.Machine.Split(); strings.HasPrefix(string(r.Machine), string(a)) {
						_ = d.Driver.Discard(ctx, m.Ref)
					}
				}
				return d.Driver.Destroy(ctx, r)
			}
		}},
		{caught: "leaves-nothing", how: "what is put aside stays", tamper: discard(func(d *tampered, ctx context.Context, r hypervisor.Ref) error {
			return ctx.Err()
		}), setup: func(s *hypervisortest.Setup) {
			d, traces := s.Driver.(*tampered), s.Traces
			s.Traces = func(ctx context.Context, id pool.HostID) ([]string, error) {
				out, err := traces(ctx, id)
				for _, m := range d.Shelf() {
					out = append(out, string(m.Machine)+".shelved")
				}
				return out, err
			}
		}},
	}
}

func aboutSnapshots() []mutant {
	type named = func(ctx context.Context, r hypervisor.Ref, name string) error
	taken := func(f func(d *tampered) named) func(*tampered) { return func(d *tampered) { d.snapshot = f(d) } }
	reverted := func(f func(d *tampered) named) func(*tampered) { return func(d *tampered) { d.revert = f(d) } }
	listed := func(change func([]hypervisor.Snapshot) []hypervisor.Snapshot) func(*tampered) {
		return func(d *tampered) {
			d.kept = func(ctx context.Context, r hypervisor.Ref) ([]hypervisor.Snapshot, error) {
				list, err := d.Driver.Snapshots(ctx, r)
				return change(list), err
			}
		}
	}
	nothing := func(*tampered) named {
		return func(ctx context.Context, _ hypervisor.Ref, _ string) error { return ctx.Err() }
	}
	forgiving := func(call named, k error) named {
		return func(ctx context.Context, r hypervisor.Ref, name string) error {
			if err := call(ctx, r, name); !errors.Is(err, k) {
				return err
			}
			return nil
		}
	}
	return []mutant{
		{caught: "snapshots", how: "newest first", tamper: listed(func(l []hypervisor.Snapshot) []hypervisor.Snapshot { slices.Reverse(l); return l })},
		{caught: "snapshots", how: "by name", tamper: listed(func(l []hypervisor.Snapshot) []hypervisor.Snapshot {
			slices.SortFunc(l, func(a, b hypervisor.Snapshot) int { return cmp.Compare(a.Name, b.Name) })
			return l
		})},
		{caught: "snapshots", how: "no time", tamper: listed(func(l []hypervisor.Snapshot) []hypervisor.Snapshot {
			for i := range l {
				l[i].Time = time.Time{}
			}
			return l
		})},
		{caught: "snapshots", how: "the last only", tamper: listed(func(l []hypervisor.Snapshot) []hypervisor.Snapshot { return l[max(len(l)-1, 0):] })},
		{caught: "snapshots", how: "none is made", tamper: taken(nothing)},
		{caught: "snapshots", how: "a name is taken twice", tamper: taken(func(d *tampered) named { return forgiving(d.Driver.Snapshot, hypervisor.ErrExists) })},
		{caught: "snapshots", how: "any name", tamper: taken(func(d *tampered) named { return forgiving(d.Driver.Snapshot, hypervisor.ErrInvalid) })},
		{caught: "snapshots", how: "none is deleted", tamper: func(d *tampered) { d.forget = nothing(d) }},
		{caught: "snapshots", how: "deleting one that is gone is an error", tamper: func(d *tampered) {
			d.forget = func(ctx context.Context, r hypervisor.Ref, name string) error {
				list, _ := d.Driver.Snapshots(ctx, r)
				if !slices.ContainsFunc(list, func(s hypervisor.Snapshot) bool { return s.Name == name }) {
					return kind(hypervisor.ErrNotFound)
				}
				return d.Driver.DeleteSnapshot(ctx, r, name)
			}
		}},
		{caught: "snapshots", how: "all are deleted", tamper: func(d *tampered) {
			d.forget = func(ctx context.Context, r hypervisor.Ref, _ string) error {
				list, err := d.Driver.Snapshots(ctx, r)
				for _, s := range list {
					_ = d.Driver.DeleteSnapshot(ctx, r, s.Name)
				}
				return err
			}
		}},
		{caught: "snapshots", how: "outlive the machine", tamper: func(d *tampered) {
			var mu sync.Mutex
			left := make(map[pool.MachineID][]hypervisor.Snapshot)
			d.destroy = func(ctx context.Context, r hypervisor.Ref) error {
				if list, err := d.Driver.Snapshots(ctx, r); err == nil {
					mu.Lock()
					left[r.Machine] = list
					mu.Unlock()
				}
				return d.Driver.Destroy(ctx, r)
			}
			d.kept = func(ctx context.Context, r hypervisor.Ref) ([]hypervisor.Snapshot, error) {
				list, err := d.Driver.Snapshots(ctx, r)
				mu.Lock()
				defer mu.Unlock()
				return append(slices.Clone(left[r.Machine]), list...), err
			}
		}},
		{caught: "revert", how: "nothing happens", tamper: reverted(nothing)},
		{caught: "revert", how: "to the latest", tamper: reverted(func(d *tampered) named {
			return func(ctx context.Context, r hypervisor.Ref, name string) error {
				if list, _ := d.Driver.Snapshots(ctx, r); len(list) > 0 && name != "none" {
					name = list[len(list)-1].Name
				}
				return d.Driver.Revert(ctx, r, name)
			}
		})},
		{caught: "revert", how: "the later ones are lost", tamper: reverted(func(d *tampered) named {
			return func(ctx context.Context, r hypervisor.Ref, name string) error {
				err := d.Driver.Revert(ctx, r, name)
				if list, _ := d.Driver.Snapshots(ctx, r); err == nil {
					for i := len(list) - 1; i >= 0 && list[i].Name != name; i-- {
						_ = d.Driver.DeleteSnapshot(ctx, r, list[i].Name)
					}
				}
				return err
			}
		})},
		{caught: "revert", how: "switched off first", tamper: reverted(func(d *tampered) named {
			return func(ctx context.Context, r hypervisor.Ref, name string) error {
				_ = d.Driver.Stop(ctx, r)
				return d.Driver.Revert(ctx, r, name)
			}
		})},
		{caught: "revert", how: "starts", tamper: reverted(func(d *tampered) named {
			return func(ctx context.Context, r hypervisor.Ref, name string) error {
				err := d.Driver.Revert(ctx, r, name)
				if err == nil {
					_ = d.Driver.Start(ctx, r)
				}
				return err
			}
		})},
		{caught: "revert", how: "to what is not kept", tamper: reverted(func(d *tampered) named { return forgiving(d.Driver.Revert, hypervisor.ErrRefused) })},
	}
}
