package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"regexp"
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
	return until(ctx, 6*time.Minute, "all members run", func(ctx context.Context) (string, error) {
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
		if _, err := typed(f.guests[name].tty, mark); err != nil {
			return fmt.Errorf("%s: a mark on its disk: %w", name, err)
		}
		f.old = append(f.old, f.members[name].Machine)
	}
	f.t.say("every guest of B writes a mark on its disk")
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
		if !strings.Contains(shown, "\nno mark is there") {
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
		lines = append(lines, fmt.Sprintf("%-9s made_anew: machine %s, host %s, at %s", name, i.Anew.Machine, i.Anew.Host, i.Anew.At.UTC().Format(time.TimeOnly)))
	}
	f.t.say("GET /api/v1/instances says of each that its disks are new, and on which machine the old ones were; GET /api/v1/operations has it as a rebuild\n%s", strings.Join(lines, "\n"))
	return nil
}

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
		if at := strings.Join(h.Conditions, " ") + ": " + h.Reason; !h.Schedulable && (len(reasons) == 0 || reasons[len(reasons)-1] != at) {
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
