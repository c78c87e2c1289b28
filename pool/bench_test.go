package pool_test

import (
	"fmt"
	"strconv"
	"testing"

	"github.com/berthage/berthage/pool"
)

// fleetOf is a State of that many hosts, each with two instances on it.
func fleetOf(b *testing.B, hosts int) (*tape, *pool.State) {
	p, s := &tape{t: b}, pool.NewState()
	apply := func(kind string, payload any) {
		e := p.next(kind, payload)
		if err := s.Apply(&e); err != nil {
			b.Fatal(err)
		}
	}
	apply(pool.KindProjectPut, &pool.Project{Name: "p"})
	for i := range hosts {
		id := pool.HostID("d/h" + strconv.Itoa(i))
		apply(pool.KindHostPut, &pool.HostPut{Host: serverHost(id)})
		for k := range 2 {
			apply(pool.KindLaunched, launched(pool.NewInstanceID("x", "p", fmt.Sprint(i, k)), place(id, 0)))
		}
	}
	return p, s
}

var sizes = []int{200, 2000, 20000}

// launchAndDelete are the two events of one instance, on hosts that are spread over the fleet.
func launchAndDelete(p *tape, hosts, n int) [2]pool.Event {
	id := pool.NewInstanceID("ledger", "p", strconv.Itoa(n))
	host := pool.HostID("d/h" + strconv.Itoa(n*7919%hosts))
	return [2]pool.Event{
		p.next(pool.KindLaunched, launched(id, place(host, 0))),
		p.next(pool.KindDeleted, &pool.Ended{Instance: id}),
	}
}

// BenchmarkApply is a launch and a deletion, folded; making the events is not measured.
func BenchmarkApply(b *testing.B) {
	for _, hosts := range sizes {
		b.Run("hosts="+strconv.Itoa(hosts), func(b *testing.B) {
			p, s := fleetOf(b, hosts)
			events := make([][2]pool.Event, b.N)
			for n := range events {
				events[n] = launchAndDelete(p, hosts, n)
			}
			b.ReportAllocs()
			b.ResetTimer()
			for n := range events {
				for k := range events[n] {
					if err := s.Apply(&events[n][k]); err != nil {
						b.Fatal(err)
					}
				}
			}
		})
	}
}

// BenchmarkOverlayAbsorb is the same through an overlay, as a commit of one command does it.
func BenchmarkOverlayAbsorb(b *testing.B) {
	for _, hosts := range sizes {
		b.Run("hosts="+strconv.Itoa(hosts), func(b *testing.B) {
			p, s := fleetOf(b, hosts)
			events := make([][2]pool.Event, b.N)
			for n := range events {
				events[n] = launchAndDelete(p, hosts, n)
			}
			b.ReportAllocs()
			b.ResetTimer()
			for n := range events {
				for k := range events[n] {
					o := s.Overlay()
					if err := o.Apply(&events[n][k]); err != nil {
						b.Fatal(err)
					}
					s.Absorb(o)
				}
			}
		})
	}
}

// BenchmarkReplay is a launch and a deletion as they are read back from a store, decoding included.
func BenchmarkReplay(b *testing.B) {
	p, s := fleetOf(b, 200)
	events := make([][2]pool.Event, b.N)
	for n := range events {
		for k, e := range launchAndDelete(p, 200, n) {
			events[n][k] = stored(b, e)
		}
	}
	b.ReportAllocs()
	b.ResetTimer()
	for n := range events {
		for k := range events[n] {
			if err := s.Apply(&events[n][k]); err != nil {
				b.Fatal(err)
			}
		}
	}
}
