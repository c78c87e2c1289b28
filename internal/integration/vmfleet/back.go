package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/berthage/berthage/internal/integration/testbed"
)

// comeBack starts b's libvirtd again.
func (f *fleet) comeBack(ctx context.Context) error {
	f.t.section("(d) Host B is back", "An instance that may be nowhere but on B has been waiting for it. The old copies are removed first.")
	var made struct {
		Instance instance `json:"instance"`
	}
	if err := f.do(ctx, http.MethodPost, "/instances", map[string]any{"project": "demo", "name": "late", "wait": true, "spec": f.spec(map[string]any{
		"hosts": []string{hostB},
	})}, &made); err != nil {
		return err
	}
	f.probe = made.Instance.ID
	if made.Instance.Status != "waiting" {
		return fmt.Errorf("it is %s instead of waiting", made.Instance.Status)
	}
	f.t.say("202: it is waiting")
	if err := f.b.Restart(ctx); err != nil {
		return err
	}
	began := time.Now()
	there, err := domains(ctx, f.b)
	if err != nil {
		return err
	}
	if len(there) != len(f.old) {
		return fmt.Errorf("host B came back with %d domains instead of %d", len(there), len(f.old))
	}
	if running, err := qemus(f.b); err != nil || len(running) > 0 {
		return errors.Join(err, fmt.Errorf("host B came back with QEMU processes %v", running))
	}
	f.t.say("libvirtd of B runs again, with the definitions of %d machines, none of which runs", len(there))
	var empty, arrived time.Time
	var reasons []string
	if err := until(ctx, 6*time.Minute, "what waits for B runs", func(ctx context.Context) (string, error) {
		h, err := f.hostNamed(ctx, hostB)
		if err != nil {
			return "", err
		}
		if at := cmp.Or(strings.Join(h.Conditions, " "), "not ready") + ": " + h.Reason; !h.Schedulable && (len(reasons) == 0 || reasons[len(reasons)-1] != at) {
			reasons = append(reasons, at)
		}
		if there, err = domains(ctx, f.b); err != nil {
			return "", err
		}
		olds := len(there)
		if there["late"] != "" {
			olds--
			if arrived.IsZero() {
				arrived = time.Now()
			}
			if olds > 0 {
				return "", fmt.Errorf("%s is there, and %d old machines are: they should have gone first", there["late"], olds)
			}
		}
		if olds == 0 && empty.IsZero() {
			empty = time.Now()
			f.t.say("the old copies are gone, %.1f s after libvirtd was there", empty.Sub(began).Seconds())
		}
		var i instance
		if err := f.get(ctx, "/instances/"+f.probe, &i); err != nil || i.Status == "running" {
			return "", err
		}
		return fmt.Sprintf("%s is %s; %d old machines are there; %s is %v", i.Name, i.Status, olds, hostB, h.Conditions), nil
	}); err != nil {
		return err
	}
	for _, machine := range f.old {
		n, err := f.disks(machine)
		if err != nil {
			return err
		}
		if n > 0 {
			return fmt.Errorf("%d disks of %s are left", n, machine)
		}
	}
	f.t.say("then what waited was placed there, and runs, %.1f s after libvirtd was there; of the old machines no disk is left\nmeanwhile %s was\n  %s",
		time.Since(began).Seconds(), hostB, strings.Join(reasons, "\n  "))
	all, err := f.cluster(ctx)
	if err != nil {
		return err
	}
	for name, i := range all {
		if i.Machine != f.members[name].Machine || i.Status != "running" {
			return fmt.Errorf("%s is %s, machine %s; it was %s", name, i.Status, i.Machine, f.members[name].Machine)
		}
	}
	if err := until(ctx, 5*time.Minute, "no place is held any more", func(ctx context.Context) (string, error) {
		var held struct{ Total int }
		if err := f.get(ctx, "/held", &held); err != nil || held.Total == 0 {
			return "", err
		}
		return fmt.Sprint(held.Total), nil
	}); err != nil {
		return err
	}
	f.t.say("GET /api/v1/held: nothing is kept for old machines any more")
	return nil
}

// end deletes everything and looks that nothing is left.
func (f *fleet) end(ctx context.Context) error {
	f.t.section("The end", "Everything is deleted, and nothing is left on any hypervisor.")
	if err := f.do(ctx, http.MethodDelete, "/clusters/demo/fleet", nil, nil); err != nil {
		return err
	}
	if err := f.do(ctx, http.MethodDelete, "/instances/"+f.probe, nil, nil); err != nil {
		return err
	}
	if err := until(ctx, 6*time.Minute, "all is deleted", func(ctx context.Context) (string, error) {
		all, err := f.list(ctx, "project=demo")
		if err != nil || len(all) == 0 {
			return "", err
		}
		return fmt.Sprintf("%d instances are left", len(all)), nil
	}); err != nil {
		return err
	}
	for _, l := range []*testbed.Libvirtd{f.a, f.b} {
		if err := f.asBooked(ctx, l, nil); err != nil {
			return err
		}
		volumes, err := l.Volumes(ctx)
		if err != nil {
			return err
		}
		for _, v := range volumes {
			if !strings.Contains(v, "/berthage-image-") { // that is kept for the next instance
				return errors.New("a volume is left: " + v)
			}
		}
	}
	there, err := f.elsewhere(ctx)
	if err != nil {
		return err
	}
	if len(there) > 0 {
		return fmt.Errorf("machines are left: %s", strings.Join(there, ", "))
	}
	var unknown struct{ Total int }
	if err := f.get(ctx, "/unknown-machines", &unknown); err != nil {
		return err
	}
	if unknown.Total > 0 || len(f.pve.Problems()) > 0 {
		return fmt.Errorf("%d unknown machines; Proxmox VE was asked what it does not know: %v", unknown.Total, f.pve.Problems())
	}
	f.t.say("nothing is left; %d events tell all of it", len(f.happened("", 0)))
	return nil
}
