package main

import (
	"context"
	"fmt"
	"net/http"
	"regexp"
	"strings"
	"time"

	"github.com/berthage/berthage/internal/integration/testbed"
)

// drain empties a while its guests run.
func (f *fleet) drain(ctx context.Context) error {
	f.t.section("(a) Host A is drained", "Its guests move to B while they run. What they say on their serial consoles shows that they have not booted: the kernel's boot id "+
		"is the same, and the uptime has gone on.")
	moving, staying := on(f.members, hostA), on(f.members, hostB)
	was, err := awake(ctx, f.a, moving)
	if err != nil {
		return err
	}
	others, err := awake(ctx, f.b, staying)
	if err != nil {
		return err
	}
	addresses, err := f.addresses(ctx, moving)
	if err != nil {
		return err
	}
	began := time.Now()
	if err := f.do(ctx, http.MethodPost, "/hosts/"+hostA+"/drain", map[string]any{"reason": "memory module to be replaced"}, nil); err != nil {
		return err
	}
	if err := until(ctx, 8*time.Minute, "A is empty", func(ctx context.Context) (string, error) {
		var page struct {
			Items []struct{ Name, Status, To, Reason string } `json:"items"`
		}
		if err := f.get(ctx, "/hosts/"+hostA+"/leaving", &page); err != nil || len(page.Items) == 0 {
			return "", err
		}
		return fmt.Sprint(page.Items), nil
	}); err != nil {
		return err
	}
	f.t.say("nothing is left on %s after %.0f s", hostA, time.Since(began).Seconds())
	if err := f.settled(ctx); err != nil {
		return err
	}
	all, err := f.cluster(ctx)
	if err != nil {
		return err
	}
	for _, name := range moving {
		if all[name].Host != hostB || all[name].Machine != f.members[name].Machine {
			return fmt.Errorf("%s is machine %s on %s; it was %s on %s", name, all[name].Machine, all[name].Host, f.members[name].Machine, hostA)
		}
	}
	if err := f.asBooked(ctx, f.a, nil); err != nil {
		return err
	}
	if err := f.asBooked(ctx, f.b, on(all, hostB)); err != nil {
		return err
	}
	is, err := awake(ctx, f.b, on(all, hostB))
	if err != nil {
		return err
	}
	var lines []string
	for name, before := range others {
		if err := goesOn(name, before, is[name]); err != nil {
			return err
		}
	}
	for _, name := range moving {
		if err := goesOn(name, was[name], is[name]); err != nil {
			return err
		}
		lines = append(lines, fmt.Sprintf("%-9s boot %s, uptime %7.2f s on A, %7.2f s on B, %.0f s later", name, is[name].boot[:8], was[name].uptime, is[name].uptime,
			is[name].at.Sub(was[name].at).Seconds()))
	}
	f.t.say("they are the same machines and have not booted\n%s", strings.Join(lines, "\n"))
	first := all[moving[0]]
	var log string
	if err := f.get(ctx, "/instances/"+first.ID+"/console", &log); err != nil {
		return err
	}
	said := regexp.MustCompile(`id=[0-9a-f-]{36} up=[0-9.]+`).FindAllString(log, -1)
	if len(said) < 2 || !strings.Contains(said[len(said)-1], is[first.Name].boot) || said[len(said)-1] == said[0] {
		return fmt.Errorf("the console of %s, as berthd shows it, has %q", first.Name, said)
	}
	f.t.say("GET /api/v1/instances/%s/console shows it too\n%s", first.ID, strings.Join(said, "\n"))
	if err := f.reached(ctx, moving, addresses); err != nil {
		return err
	}
	if err := f.do(ctx, http.MethodPost, "/hosts/"+hostA+"/undrain", nil, nil); err != nil {
		return err
	}
	h, err := f.hostNamed(ctx, hostA)
	if err != nil {
		return err
	}
	if !h.Schedulable || h.Instances != 0 {
		return fmt.Errorf("%s is %v with %d instances", hostA, h.Conditions, h.Instances)
	}
	f.t.say("uncordoned: %s takes instances again, and those that have left it stay where they are\n%s", hostA, f.spreading(all))
	f.members, f.guests = all, is
	return nil
}

// addresses waits until berthd knows where guests can be reached.
func (f *fleet) addresses(ctx context.Context, names []string) (map[string]string, error) {
	out := make(map[string]string)
	err := until(ctx, 2*time.Minute, "addresses", func(ctx context.Context) (string, error) {
		all, err := f.cluster(ctx)
		for _, name := range names {
			if len(all[name].Addresses) == 0 {
				return name, err
			}
			out[name] = all[name].Addresses[0]
		}
		return "", err
	})
	return out, err
}

// reached asks guests by SSH, at the addresses that they had before they were moved.
func (f *fleet) reached(ctx context.Context, names []string, addresses map[string]string) error {
	var lines []string
	for _, name := range names {
		err := until(ctx, time.Minute, "SSH to "+name, func(ctx context.Context) (string, error) {
			out, err := testbed.SSH(ctx, f.key, "debian@"+addresses[name], "hostname")
			if err != nil {
				return err.Error(), nil
			}
			if strings.TrimSpace(out) != name {
				return "", fmt.Errorf("at %s is %q", addresses[name], out)
			}
			return "", nil
		})
		if err != nil {
			return err
		}
		lines = append(lines, fmt.Sprintf("%-9s %s", name, addresses[name]))
	}
	f.t.say("SSH answers where it did before\n%s", strings.Join(lines, "\n"))
	return nil
}
