package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/berthage/berthage/internal/integration/testbed"
)

// snapshot is what must stay as it is while nobody knows what has become of b.
type snapshot struct {
	a, b      []int // QEMU processes
	elsewhere []string
	places    map[string]string // machine and host by instance
}

func (f *fleet) snapshot(ctx context.Context) (s snapshot, err error) {
	s.places = make(map[string]string)
	if s.a, err = qemus(f.a); err != nil {
		return s, err
	}
	if s.b, err = qemus(f.b); err != nil {
		return s, err
	}
	if s.elsewhere, err = f.elsewhere(ctx); err != nil {
		return s, err
	}
	all, err := f.cluster(ctx)
	for name, i := range all {
		s.places[name] = i.Machine + " on " + i.Host
	}
	return s, err
}

// same returns an error if anything has been started, moved or ended.
func (s snapshot) same(now snapshot) error {
	switch {
	case !slices.Equal(s.b, now.b):
		return fmt.Errorf("QEMU processes of B were %v and are %v", s.b, now.b)
	case !slices.Equal(s.a, now.a):
		return fmt.Errorf("QEMU processes of A were %v and are %v", s.a, now.a)
	case !slices.Equal(s.elsewhere, now.elsewhere):
		return fmt.Errorf("elsewhere were %v and are %v", s.elsewhere, now.elsewhere)
	}
	for name, place := range now.places {
		if s.places[name] != place {
			return fmt.Errorf("%s was %s and is %s", name, s.places[name], place)
		}
	}
	return nil
}

// silence stops b's libvirtd while its guests live: nothing may be done about it.
func (f *fleet) silence(ctx context.Context) error {
	f.t.section("(b) Host B falls silent", fmt.Sprintf("Its libvirtd is stopped, its guests go on. From outside that looks like a host that is dead. For three grace periods of %s, "+
		"and longer, nothing is started anywhere: that it does not answer is no proof that its guests do not run.", grace))
	lost := on(f.members, hostB)
	for _, name := range lost {
		shown, err := typed(f.guests[name].tty, mark+" && "+marked)
		if err != nil {
			return fmt.Errorf("%s: a mark on its disk: %w", name, err)
		}
		if !strings.Contains(shown, "mark kept") {
			return fmt.Errorf("%s has not kept a mark on its disk: %q", name, shown)
		}
		f.old = append(f.old, f.members[name].Machine)
	}
	f.t.say("every guest of B has a mark on its disk")
	before, err := f.snapshot(ctx)
	if err != nil {
		return err
	}
	if err := f.b.Stop(ctx); err != nil {
		return err
	}
	began := time.Now()
	f.t.say("libvirtd of B is stopped; QEMU processes %v live on", before.b)
	var h host
	if err := until(ctx, grace+time.Minute, "B is unreachable", func(ctx context.Context) (string, error) {
		if h, err = f.hostNamed(ctx, hostB); err != nil {
			return "", err
		}
		if !slices.Contains(h.Conditions, "unreachable") {
			return fmt.Sprint(h.Conditions), nil
		}
		return "", nil
	}); err != nil {
		return err
	}
	f.t.say("GET /api/v1/hosts/%s: %s, because: %s (%.0f s after it was stopped)", hostB, strings.Join(h.Conditions, " "), h.Reason, time.Since(began).Seconds())
	silent := time.Now()
	looks := 0
	for time.Since(silent) < 3*grace {
		now, err := f.snapshot(ctx)
		if err == nil {
			err = before.same(now)
		}
		if err != nil {
			return fmt.Errorf("%.0f s after B became unreachable: %w", time.Since(silent).Seconds(), err)
		}
		if h, err = f.hostNamed(ctx, hostB); err != nil {
			return err
		}
		if !slices.Equal(h.Conditions, []string{"unreachable"}) {
			return fmt.Errorf("%.0f s after B became unreachable it is %v", time.Since(silent).Seconds(), h.Conditions)
		}
		looks++
		if err := testbed.Pause(ctx, time.Second); err != nil {
			return err
		}
	}
	var lines []string
	for _, name := range lost {
		v, err := alive(f.guests[name].tty)
		if err == nil {
			err = goesOn(name, f.guests[name], v)
		}
		if err != nil {
			return err
		}
		lines = append(lines, fmt.Sprintf("%-9s boot %s, uptime %7.2f s", name, v.boot[:8], v.uptime))
	}
	f.t.say("looked %d times in %s: the same QEMU processes, no new machine on any hypervisor, the same machines in the books; the guests of B live\n%s",
		looks, 3*grace, strings.Join(lines, "\n"))
	return nil
}
