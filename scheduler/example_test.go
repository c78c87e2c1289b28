package scheduler_test

import (
	"errors"
	"fmt"

	"github.com/berthage/berthage/pool"
	"github.com/berthage/berthage/scheduler"
)

// fold puts facts into the books; a program has a Ledger do it.
func fold(s *pool.State, kind string, payload any) {
	e, err := pool.NewEvent(kind, payload)
	if err != nil {
		panic(err)
	}
	if err := s.Apply(&e); err != nil {
		panic(err)
	}
}

func Example() {
	st := pool.NewState()
	for name, cores := range map[string]int64{"h1": 16, "h2": 8} {
		fold(st, pool.KindHostPut, &pool.HostPut{Host: pool.Host{
			ID: pool.NewHostID("libvirt", name), Conditions: pool.Ready,
			Inventory: map[pool.Class]pool.Inventory{
				pool.CPU:    {Total: cores * pool.Core, Ratio: 2000}, // two virtual cores on each
				pool.Memory: {Total: 64 * pool.GiB, Reserved: 4 * pool.GiB},
			},
		}})
	}
	req := scheduler.Request{
		Spec:  pool.Spec{Image: "debian-12", Resources: pool.Resources{pool.CPU: 4 * pool.Core, pool.Memory: 8 * pool.GiB}},
		Image: pool.Image{Name: "debian-12", Sources: map[string]string{"libvirt": "/images/debian-12.qcow2"}},
	}
	var s scheduler.Scheduler
	d, err := s.Place(st, req)
	fmt.Println(d.Host, d.Allocation.Resources, err)

	req.Spec.Resources = pool.Resources{pool.CPU: 4 * pool.Core, pool.Memory: 80 * pool.GiB}
	_, err = s.Place(st, req)
	var refusal *scheduler.Refusal
	if errors.As(err, &refusal) {
		for _, h := range refusal.Hosts {
			fmt.Println(h.Host, h.Reason)
		}
		fmt.Println(refusal.Nearest)
	}
	// Output:
	// libvirt/h2 cpu 4 cores, memory 8 GiB <nil>
	// libvirt/h1 memory: 80 GiB asked, 60 GiB free of 60 GiB: short of 20 GiB
	// libvirt/h2 memory: 80 GiB asked, 60 GiB free of 60 GiB: short of 20 GiB
	// host "libvirt/h1" could take it: ask for 20 GiB less of memory
}

// An importer's filter and score are plain functions.
func ExampleScheduler() {
	s := scheduler.Scheduler{
		Strategy: scheduler.Spread,
		Filters: []scheduler.Filter{func(r scheduler.Request, h *pool.HostRecord) *scheduler.Reason {
			if owner := h.Labels["owner"]; owner != "" && owner != r.Project {
				return &scheduler.Reason{Detail: "belongs to " + owner, Never: true}
			}
			return nil
		}},
		Scores: []scheduler.Score{func(_ scheduler.Request, h *pool.HostRecord) float64 {
			if h.Labels["power"] == "green" {
				return 0.1
			}
			return 0
		}},
	}
	st := pool.NewState()
	for name, labels := range map[string]map[string]string{
		"a": {"owner": "research"}, "b": {}, "c": {"power": "green"},
	} {
		fold(st, pool.KindHostPut, &pool.HostPut{Host: pool.Host{
			ID: pool.NewHostID("d", name), Conditions: pool.Ready, Labels: labels,
			Inventory: map[pool.Class]pool.Inventory{pool.CPU: {Total: 8 * pool.Core}},
		}})
	}
	e, err := s.Explain(st, scheduler.Request{
		Spec:    pool.Spec{Resources: pool.Resources{pool.CPU: 2 * pool.Core}},
		Image:   pool.Image{Sources: map[string]string{"d": "debian"}},
		Project: "web",
	})
	if err != nil {
		panic(err)
	}
	for _, v := range e.Hosts {
		if v.Reason != nil {
			fmt.Println(v.Host, v.Reason)
			continue
		}
		fmt.Printf("%s %.2f\n", v.Host, v.Score)
	}
	// Output:
	// d/c 1.85
	// d/b 1.75
	// d/a refused by a filter: "belongs to research"
}

// An Index finds the same host as a scan of all, at a cost that hardly grows with their number. Without a State it
// answers what-if questions: here, how many more fit.
func ExampleIndex() {
	st := pool.NewState()
	for name, cores := range map[string]int64{"h1": 16, "h2": 8} {
		fold(st, pool.KindHostPut, &pool.HostPut{Host: pool.Host{
			ID: pool.NewHostID("libvirt", name), Conditions: pool.Ready,
			Inventory: map[pool.Class]pool.Inventory{pool.CPU: {Total: cores * pool.Core}},
		}})
	}
	s := &scheduler.Scheduler{}
	ask, err := s.Ask(scheduler.Request{
		Spec:  pool.Spec{Resources: pool.Resources{pool.CPU: 3 * pool.Core}},
		Image: pool.Image{Sources: map[string]string{"libvirt": "/images/debian-12.qcow2"}},
	})
	if err != nil {
		panic(err)
	}
	ix := scheduler.NewIndex(st)
	var d scheduler.Decision
	for ix.Choose(ask, &d) == nil {
		fmt.Println(d.Host)
		if err := ix.Book(d.Host, &d.Allocation); err != nil {
			panic(err)
		}
	}
	// Output:
	// libvirt/h2
	// libvirt/h2
	// libvirt/h1
	// libvirt/h1
	// libvirt/h1
	// libvirt/h1
	// libvirt/h1
}

// Two racks; the members of a cluster are to be on different hosts, as evenly over the racks as can be, and not on the
// host that is kept for GPU work.
func Example_constraints() {
	st := pool.NewState()
	fold(st, pool.KindProjectPut, &pool.Project{Name: "shop"})
	for name, rack := range map[string]string{"h1": "r1", "h2": "r1", "h3": "r2", "h4": "r2"} {
		h := pool.Host{
			ID: pool.NewHostID("libvirt", name), Conditions: pool.Ready, Labels: map[string]string{"rack": rack},
			Inventory: map[pool.Class]pool.Inventory{pool.CPU: {Total: 16 * pool.Core}},
		}
		if name == "h4" {
			h.Taints = []pool.Taint{{Key: "gpu", Effect: pool.NoSchedule}}
		}
		fold(st, pool.KindHostPut, &pool.HostPut{Host: h})
	}
	req := scheduler.Request{
		Spec: pool.Spec{
			Image: "debian-12", Resources: pool.Resources{pool.CPU: pool.Core}, Labels: map[string]string{"app": "db"},
			Constraints: pool.Constraints{
				AntiAffinity: []pool.Affinity{{Selector: pool.Selector{Labels: map[string]string{"app": "db"}}}},
				Spread:       []pool.Spread{{Selector: pool.Selector{Labels: map[string]string{"app": "db"}}, Within: "rack"}},
			},
		},
		Image:   pool.Image{Name: "debian-12", Sources: map[string]string{"libvirt": "/images/debian-12.qcow2"}},
		Project: "shop",
	}
	var s scheduler.Scheduler
	room, err := s.HowMany(st, req)
	fmt.Println(room.Fit, err)
	for n := range room.Fit + 1 {
		d, err := s.Place(st, req)
		var refusal *scheduler.Refusal
		if errors.As(err, &refusal) {
			for _, h := range refusal.Hosts {
				fmt.Println(h.Host, h.Reason)
			}
			break
		}
		fmt.Println(d.Host)
		fold(st, pool.KindLaunched, &pool.Launched{
			Instance: pool.NewInstanceID("ledger", "shop", fmt.Sprint(n)), Name: "db", Project: "shop", Spec: req.Spec, Want: pool.Running,
			Place: pool.Placement{Host: d.Host, Allocation: d.Allocation},
		})
	}
	// Output:
	// 3 <nil>
	// libvirt/h1
	// libvirt/h3
	// libvirt/h2
	// libvirt/h1 1 instance on the host to stay apart from: instances with "app=db"
	// libvirt/h2 1 instance on the host to stay apart from: instances with "app=db"
	// libvirt/h3 1 instance on the host to stay apart from: instances with "app=db"
	// libvirt/h4 has a taint that is not tolerated: "gpu:no-schedule"
}
