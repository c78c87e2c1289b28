package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/berthage/berthage/internal/integration/testbed"
)

// placed is the data of an event by which an instance got a new place.
type placed struct {
	Instance string `json:"instance"`
	Hold     bool   `json:"hold"`
	Place    struct {
		Host   string `json:"host"`
		Number int    `json:"number"`
	} `json:"place"`
}

func (f *fleet) placedAfter(revision int64) ([]placed, []testbed.Event, error) {
	events := f.happened("instance.placed", revision)
	out := make([]placed, len(events))
	for n, e := range events {
		if err := json.Unmarshal(e.Data, &out[n]); err != nil {
			return nil, nil, err
		}
	}
	return out, events, nil
}

// fence waits until berthd has b switched off, and until what ran there runs elsewhere.
func (f *fleet) fence(ctx context.Context) error {
	f.t.section("(c) Host B is fenced", fmt.Sprintf("After %s berthd runs the command that its file names for B. It kills the QEMU processes, looks that none is left, and says so: "+
		"that is the proof upon which the instances are made anew of their image on other hosts. They are the same instances, with new disks. It waits for as long as a request that "+
		"was sent to B before could still be carried out, two minutes with libvirt.", fenceAfter))
	var h host
	var err error
	if err := until(ctx, fenceAfter+time.Minute, "B is fenced", func(ctx context.Context) (string, error) {
		if h, err = f.hostNamed(ctx, hostB); err != nil {
			return "", err
		}
		if !slices.Contains(h.Conditions, "fenced") {
			return fmt.Sprint(h.Conditions), nil
		}
		return "", nil
	}); err != nil {
		return err
	}
	fenced := time.Now()
	if !strings.Contains(h.Proof, "none is left") {
		return fmt.Errorf("the proof is %q", h.Proof)
	}
	f.t.say("GET /api/v1/hosts/%s: %s; proof: %s", hostB, strings.Join(h.Conditions, " "), h.Proof)
	left, err := qemus(f.b)
	if err != nil {
		return err
	}
	if len(left) > 0 {
		return fmt.Errorf("berthd has the proof, and QEMU processes %v are there", left)
	}
	all, err := f.cluster(ctx)
	if err != nil {
		return err
	}
	lost := on(f.members, hostB)
	if err := until(ctx, 6*time.Minute, "what was on B runs elsewhere", func(ctx context.Context) (string, error) {
		if all, err = f.cluster(ctx); err != nil {
			return "", err
		}
		for _, name := range lost {
			if i := all[name]; i.Host == hostB || i.Status != "running" {
				return fmt.Sprintf("%s is %s on %s %s", name, i.Status, i.Host, i.Reason), nil
			}
		}
		return "", nil
	}); err != nil {
		return err
	}
	f.t.say("all run %.0f s after the proof\n%s", time.Since(fenced).Seconds(), f.spreading(all))
	return f.judgeAnew(ctx, lost, all)
}

// judgeAnew looks at what was made anew: other machines, which have booted, on disks that are new; and that this is said.
func (f *fleet) judgeAnew(ctx context.Context, lost []string, all map[string]instance) error {
	var off int64
	for _, e := range f.happened("host.conditions", 0) {
		if strings.Contains(string(e.Data), `"proof"`) {
			off = e.Revision
		}
	}
	news, events, err := f.placedAfter(0)
	if err != nil {
		return err
	}
	var lines []string
	for _, name := range lost {
		i, was := all[name], f.members[name]
		if i.ID != was.ID || number(i.Machine) != number(was.Machine)+1 {
			return fmt.Errorf("%s is %s, machine %s; it was %s, machine %s", name, i.ID, i.Machine, was.ID, was.Machine)
		}
		n := slices.IndexFunc(news, func(p placed) bool { return p.Instance == i.ID })
		if n < 0 || !news[n].Hold || events[n].Cause != "evacuate" || events[n].Revision <= off || off == 0 {
			return fmt.Errorf("no event says after the proof that %s was evacuated", name)
		}
		lines = append(lines, fmt.Sprintf("%-9s revision %d: %s by %q, to %s", name, events[n].Revision, events[n].Kind, events[n].Cause, news[n].Place.Host))
	}
	f.t.say("the proof is of revision %d, and the events after it say\n%s", off, strings.Join(lines, "\n"))
	for name, i := range all {
		if !slices.Contains(lost, name) && i.Machine != f.members[name].Machine {
			return fmt.Errorf("%s, which was not on B, was made anew", name)
		}
	}
	if err := f.saidAnew(ctx, lost, all); err != nil {
		return err
	}
	here := on(all, hostA)
	if len(here) == 0 {
		return errors.New("nothing was made anew on A, of whose guests the disks can be looked at")
	}
	now, err := awake(ctx, f.a, here)
	if err != nil {
		return err
	}
	lines = nil
	for _, name := range here {
		if now[name].boot == f.guests[name].boot {
			return fmt.Errorf("%s has not booted", name)
		}
		shown, err := typed(now[name].tty, marked)
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		if !strings.Contains(shown, "no mark") {
			return fmt.Errorf("%s: its disk is not new: %q", name, shown)
		}
		lines = append(lines, fmt.Sprintf("%-9s boot %s, was %s, uptime %6.2f s; no mark on its disk", name, now[name].boot[:8], f.guests[name].boot[:8], now[name].uptime))
	}
	f.t.say("the guests on A say so too\n%s", strings.Join(lines, "\n"))
	for _, machine := range f.old {
		n, err := f.disks(machine)
		if err != nil {
			return err
		}
		if n == 0 {
			return fmt.Errorf("the disks of %s are gone, while B cannot have been asked", machine)
		}
	}
	var held struct {
		Items []struct{ Machine, Host string } `json:"items"`
	}
	if err := f.get(ctx, "/held", &held); err != nil {
		return err
	}
	if len(held.Items) != len(f.old) {
		return fmt.Errorf("%d places are held instead of %d", len(held.Items), len(f.old))
	}
	f.t.say("GET /api/v1/held: the places of the %d old machines on %s are kept, and their disks are where they were, until B is back", len(held.Items), hostB)
	f.members, f.guests = all, now
	return nil
}

// saidAnew looks that berthd says of each instance that it has new disks, and since when, and has it among its operations.
func (f *fleet) saidAnew(ctx context.Context, lost []string, all map[string]instance) error {
	var lines []string
	for _, name := range lost {
		i, was := all[name], f.members[name]
		if i.Anew == nil || i.Anew.Machine != was.Machine || i.Anew.Host != hostB {
			return fmt.Errorf("%s is not said to have been made anew for %s on %s: %+v", name, was.Machine, hostB, i.Anew)
		}
		var operations struct {
			Items []struct{ Kind, Status, Actor string } `json:"items"`
		}
		if err := f.get(ctx, "/operations?instance="+i.ID, &operations); err != nil {
			return err
		}
		if !slices.ContainsFunc(operations.Items, func(o struct{ Kind, Status, Actor string }) bool { return o.Kind == "rebuild" && o.Actor == "berthage" }) {
			return fmt.Errorf("no operation says that %s was rebuilt: %v", name, operations.Items)
		}
		lines = append(lines, fmt.Sprintf("%-9s made_anew: machine %s, host %s, at %.1f s", name, i.Anew.Machine, i.Anew.Host, i.Anew.At.Sub(f.t.began).Seconds()))
	}
	f.t.say("GET /api/v1/instances says of each that its disks are new, and on which machine the old ones were; GET /api/v1/operations has it as a rebuild\n%s", strings.Join(lines, "\n"))
	return nil
}
