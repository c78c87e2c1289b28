package main

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/berthage/berthage/internal/integration/testbed"
)

const size = 12

// pool looks at the hosts and at what can be done with each.
func (f *fleet) pool(ctx context.Context) error {
	f.t.section("One pool", "All hosts come into the pool by themselves, each with what can be done there.")
	if err := until(ctx, 2*time.Minute, "all hosts are in the pool", func(ctx context.Context) (string, error) {
		for _, id := range f.hosts() {
			if h, err := f.hostNamed(ctx, id); err != nil || !h.Schedulable {
				return fmt.Sprintf("%s: %v %v", id, h.Conditions, err), nil
			}
		}
		return "", nil
	}); err != nil {
		return err
	}
	var lines []string
	for _, id := range f.hosts() {
		h, err := f.hostNamed(ctx, id)
		if err != nil {
			return err
		}
		kind := "host"
		if h.Aggregate {
			kind = "places by itself"
		}
		lines = append(lines, fmt.Sprintf("%-20s zone %-10s %-17s %s", h.ID, h.Zone, kind, strings.Join(h.Capabilities.Abilities, " ")))
		if strings.HasPrefix(id, "libvirt/") {
			for _, needed := range []string{"fence", "migrate-live"} {
				if !slices.Contains(h.Capabilities.Abilities, needed) {
					return fmt.Errorf("%s cannot %s", id, needed)
				}
			}
		}
	}
	f.t.say("GET /api/v1/hosts\n%s", strings.Join(lines, "\n"))
	return nil
}

// launch makes a cluster of twelve, spread over the zones.
func (f *fleet) launch(ctx context.Context) error {
	f.t.section("A cluster of twelve", "Every member prefers the zone with fewest members, and each kind of hypervisor is a zone of its own. The image has a source for each.")
	image := map[string]any{"user": "debian", "os": "guest of make vm-fleet", "sources": map[string]string{"libvirt": "file:" + f.image, "proxmox": "guest"}}
	if f.cloud != nil {
		image["sources"].(map[string]string)["openstack"] = "debian-12"
	}
	if err := f.do(ctx, http.MethodPut, "/images/guest", image, nil); err != nil {
		return err
	}
	if err := f.do(ctx, http.MethodPut, "/projects/demo", map[string]any{"quota": map[string]int64{"instances": 20}}, nil); err != nil {
		return err
	}
	began := time.Now()
	if err := f.do(ctx, http.MethodPost, "/clusters", map[string]any{"project": "demo", "name": "fleet", "size": size, "spec": f.spec(map[string]any{
		"spread": []any{map[string]any{"within": "zone", "soft": true}},
	})}, nil); err != nil {
		return err
	}
	if err := f.settled(ctx); err != nil {
		return err
	}
	all, err := f.cluster(ctx)
	if err != nil {
		return err
	}
	f.members = all
	f.t.say("all run after %.0f s\n%s", time.Since(began).Seconds(), f.spreading(all))
	for _, h := range f.hosts() {
		if n := len(on(all, h)); n != size/len(f.hosts()) {
			return fmt.Errorf("%d of %d are on %s, which is not an even spread", n, size, h)
		}
	}
	for _, l := range []struct {
		at *testbed.Libvirtd
		id string
	}{{f.a, hostA}, {f.b, hostB}} {
		if err := f.asBooked(ctx, l.at, on(all, l.id)); err != nil {
			return err
		}
	}
	there, err := f.elsewhere(ctx)
	if err != nil {
		return err
	}
	if want := size - len(on(all, hostA)) - len(on(all, hostB)); len(there) != want {
		return fmt.Errorf("%d machines are beside those on libvirt instead of %d: %s", len(there), want, strings.Join(there, ", "))
	}
	f.t.say("the hypervisors have what berthd says, and nothing else\n%s", strings.Join(there, "\n"))
	return nil
}

// spec is what every instance here asks for.
func (f *fleet) spec(constraints map[string]any) map[string]any {
	return map[string]any{
		"image": "guest", "resources": map[string]int64{"cpu": 1000, "memory": 1 << 30}, "disks": []any{map[string]int64{"size": 1 << 30}},
		"guest": map[string]any{"user": "debian", "ssh_keys": []string{f.public}}, "constraints": constraints,
	}
}

// settled waits until all members of the cluster run.
func (f *fleet) settled(ctx context.Context) error {
	return until(ctx, 10*time.Minute, "all members run", func(ctx context.Context) (string, error) {
		var c struct{ Done, Failed int }
		if err := f.get(ctx, "/clusters/demo/fleet", &c); err != nil {
			return "", err
		}
		all, err := f.cluster(ctx)
		if err != nil {
			return "", err
		}
		for _, i := range all {
			if i.Status != "running" || !i.Settled {
				return fmt.Sprintf("%s is %s on %s %s", i.Name, i.Status, i.Host, i.Reason), nil
			}
		}
		if c.Failed > 0 {
			return "", fmt.Errorf("%d members have failed", c.Failed)
		}
		if c.Done != size || len(all) != size {
			return fmt.Sprintf("%d of %d are done", c.Done, len(all)), nil
		}
		return "", nil
	})
}

// asBooked returns an error unless a libvirt host has the domains of exactly those instances, each with a QEMU.
func (f *fleet) asBooked(ctx context.Context, l *testbed.Libvirtd, names []string) error {
	there, err := domains(ctx, l)
	if err != nil {
		return err
	}
	for _, name := range names {
		if there[name] == "" {
			return fmt.Errorf("%s is not on %s, where berthd has it", name, l.URI)
		}
	}
	pids, err := qemus(l)
	if err != nil {
		return err
	}
	if len(there) != len(names) || len(pids) != len(names) {
		return fmt.Errorf("%d domains and %d QEMU processes are on %s instead of %d", len(there), len(pids), l.URI, len(names))
	}
	return nil
}
