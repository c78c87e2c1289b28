package openstack

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/berthage/berthage/hypervisor"
	"github.com/berthage/berthage/pool"
)

// server is a server as Nova shows it, as far as it matters.
type server struct {
	ID        string            `json:"id"`
	Name      string            `json:"name"`
	Status    string            `json:"status"`
	Created   string            `json:"created"`
	Metadata  map[string]string `json:"metadata"`
	Tags      []string          `json:"tags"`
	Addresses map[string][]struct {
		Address string `json:"addr"`
	} `json:"addresses"`
	Flavor struct {
		Name      string `json:"original_name"`
		VCPUs     int64  `json:"vcpus"`
		RAM       int64  `json:"ram"` // MiB
		Disk      int64  `json:"disk"`
		Ephemeral int64  `json:"ephemeral"`
	} `json:"flavor"`
	Fault struct {
		Code    int    `json:"code"`
		Message string `json:"message"`
	} `json:"fault"`
	Task       string `json:"OS-EXT-STS:task_state"`
	Power      int    `json:"OS-EXT-STS:power_state"`
	Launched   string `json:"OS-SRV-USG:launched_at"`
	Hypervisor string `json:"OS-EXT-SRV-ATTR:hypervisor_hostname"` // admins only
	HostStatus string `json:"host_status"`                         // admins only
}

// The statuses that are told apart, see https://docs.openstack.org/api-guide/compute/server_concepts.html.
const (
	building  = "BUILD"
	active    = "ACTIVE"
	shutoff   = "SHUTOFF"
	paused    = "PAUSED"
	suspended = "SUSPENDED"
	resized   = "VERIFY_RESIZE"
	shelved   = "SHELVED"
	offloaded = "SHELVED_OFFLOADED"
	rescued   = "RESCUE"
	failed    = "ERROR"
	deleted   = "DELETED"
	softly    = "SOFT_DELETED"
)

// Power states of Nova's.
const (
	powerRunning = 1
	powerPaused  = 3
)

// busy reports whether Nova is at work on the server, whatever its status.
func (v *server) busy() bool {
	return v.Task != "" || v.Status == building
}

// unreachable reports whether Nova has not heard of the server's computer for some time. It would accept actions all the
// same, and leave them until it is back.
func (v *server) unreachable() bool { return v.HostStatus == "DOWN" || v.HostStatus == "UNKNOWN" }

// power is what the machine does. A status may stand for an operation that is under way, during which it goes on running
// or not.
func (v *server) power() pool.Power {
	switch v.Status {
	case active, rescued, "REBOOT", "HARD_REBOOT", "PASSWORD", "MIGRATING":
		return pool.Running
	case paused:
		return pool.Suspended
	case suspended:
		return pool.Hibernated
	case failed, resized, "RESIZE", "REVERT_RESIZE", "REBUILD", "UNKNOWN":
		switch v.Power {
		case powerRunning:
			return pool.Running
		case powerPaused:
			return pool.Suspended
		}
	}
	return pool.Stopped
}

// givenUp reports whether Nova has given the server up before it ever ran. One that has run and then failed keeps its
// disks, and is a person's or ResetState's to repair.
func (v *server) givenUp() bool {
	return v.Status == failed && v.Launched == "" && v.Power != powerRunning
}

// machine is the server as the contract has it.
func (v *server) machine(host pool.HostID, say func(string) string) hypervisor.Machine {
	m := hypervisor.Machine{
		Ref: hypervisor.Ref{Host: host, Tag: v.tag()}, Native: v.ID, Name: v.Name, Power: v.power(),
		Resources: pool.Resources{pool.CPU: v.Flavor.VCPUs * pool.Core, pool.Memory: v.Flavor.RAM * pool.MiB},
	}
	if v.givenUp() {
		m.Fault, m.Full = orDefault(say(v.Fault.Message), "Nova has given the server up"), full(v.Fault.Message)
	}
	if m.Tag != (hypervisor.Tag{}) && m.Power != pool.Stopped {
		for _, network := range slices.Sorted(maps.Keys(v.Addresses)) {
			for _, a := range v.Addresses[network] {
				if net.ParseIP(a.Address) != nil {
					m.Addresses = append(m.Addresses, a.Address)
				}
			}
		}
	}
	return m
}

// sound reports, as an error, a server that cannot be one.
func (v *server) sound() error {
	f := &v.Flavor
	if v.ID == "" || v.Status == "" || f.VCPUs < 0 || f.VCPUs > math.MaxInt32 || f.RAM < 0 || f.RAM > math.MaxInt64/pool.MiB ||
		f.Disk < 0 || f.Ephemeral < 0 || f.Disk > math.MaxInt32 || f.Ephemeral > math.MaxInt32 {
		return fmt.Errorf("server %s: %w", pool.Quote(v.ID), errMalformed)
	}
	return nil
}

// pageSize is what is asked for in a page; Nova gives less where it is configured so.
const pageSize = "1000"

// servers lists servers with their details, the oldest first: of the project, or, in the mode Hypervisors, of all.
func (s *session) servers(query url.Values) ([]server, error) {
	query.Set("limit", pageSize)
	if s.d.config.Mode == Hypervisors {
		query.Set("all_tenants", "true")
	}
	out, err := list[server](s, nova, "servers/detail", "servers", query)
	if err != nil {
		return nil, err
	}
	slices.SortFunc(out, func(a, b server) int {
		return cmp.Or(strings.Compare(a.Created, b.Created), strings.Compare(a.ID, b.ID))
	})
	// A server that moves from one page to another while they are read is listed twice.
	seen := make(map[string]bool, len(out))
	out = slices.DeleteFunc(out, func(v server) bool {
		was := seen[v.ID]
		seen[v.ID] = true
		return was
	})
	for i := range out {
		if err := out[i].sound(); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// server looks at one server. One that is gone is nil.
func (s *session) server(id string) (*server, error) {
	var answer struct {
		Server *server `json:"server"`
	}
	err := s.get(nova, "servers/"+url.PathEscape(id), &answer)
	if answeredWith(err, http.StatusNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	if answer.Server == nil || answer.Server.ID != id {
		return nil, errMalformed
	}
	if answer.Server.Status == deleted {
		return nil, nil
	}
	return answer.Server, answer.Server.sound()
}

// on reports whether the server takes place on the host: it is there, or was to be and is not anywhere yet. What is shelved
// and has left its computer is on none.
func (d *Driver) on(v *server, host pool.HostID) bool {
	if v.Status == offloaded {
		return false
	}
	if d.config.Mode == Region {
		return true
	}
	native := nativeOf(host)
	return v.Hypervisor == native || v.Hypervisor == "" && v.Metadata[keyHost] == native
}

// nativeOf is the part of a host's id after the driver's name.
func nativeOf(id pool.HostID) string {
	_, native, _ := strings.Cut(string(id), "/")
	return native
}

// Machines implements hypervisor.Driver. In the mode Region these are the project's servers. In the mode Hypervisors they
// are those of all projects on a hypervisor, and of ours also those that were created for it and have not been placed;
// while Nova counts the hypervisor's service as down, nobody knows what runs there, and the call fails.
func (d *Driver) Machines(ctx context.Context, id pool.HostID) ([]hypervisor.Machine, error) {
	s := d.session(ctx)
	fail := func(err error) ([]hypervisor.Machine, error) {
		return nil, wrap("list machines", hypervisor.Ref{Host: id}, s.call, err)
	}
	if err := s.own(id); err != nil {
		return fail(err)
	}
	if d.config.Mode == Hypervisors {
		h, err := s.hypervisor(id)
		if err == nil && !h.up() {
			err = errDown()
		}
		if err != nil {
			return fail(err)
		}
	}
	found, err := s.there(id)
	if err != nil {
		return fail(err)
	}
	out := make([]hypervisor.Machine, 0, len(found))
	for i := range found {
		out = append(out, found[i].machine(id, d.cloud.harmless))
	}
	return out, nil
}

// errDown is the error of calls on a hypervisor of which Nova has not heard for some time.
func errDown() error {
	return refuse(hypervisor.ErrUnavailable, errors.New("the hypervisor's compute service is down"))
}

// there lists the servers on a host.
func (s *session) there(id pool.HostID) ([]server, error) {
	queries := []url.Values{{}}
	if s.d.config.Mode == Hypervisors {
		// What is being placed, or never was, is on no hypervisor.
		queries = []url.Values{{"node": {nativeOf(id)}}, {"tags": {hostTag(nativeOf(id))}, "status": {building, failed}}}
	}
	var out []server
	for _, q := range queries {
		found, err := s.servers(q)
		if err != nil {
			return nil, err
		}
		for _, v := range found {
			if s.d.on(&v, id) && !slices.ContainsFunc(out, func(o server) bool { return o.ID == v.ID }) {
				out = append(out, v)
			}
		}
	}
	return out, nil
}

// copies are the servers of a machine's id.
type copies struct {
	here    []server // with exactly the tag, on the host, the oldest first
	away    []server // with exactly the tag, on other hosts
	aside   []server // with exactly the tag, shelved
	strange []server // on the host with another tag or none
	other   []server // likewise on other hosts
}

// find looks for the machine that r names. It is ErrForeign where the host has one of that id, and none with r's tag.
func (s *session) find(r hypervisor.Ref) (copies, error) {
	var c copies
	if err := s.own(r.Host); err != nil {
		return c, err
	}
	if err := validTag(r.Tag); err != nil {
		return c, refuse(hypervisor.ErrInvalid, err)
	}
	all, err := s.servers(url.Values{"tags": {machineTag(r.Machine)}})
	if err != nil {
		return c, err
	}
	for _, v := range all {
		if !slices.Contains(v.Tags, machineTag(r.Machine)) {
			return c, fmt.Errorf("list servers by their tags: %w", errMalformed) // or any server might be taken for it
		}
		ours, here := v.tag() == r.Tag, s.d.on(&v, r.Host)
		switch {
		case ours && v.Status == offloaded:
			c.aside = append(c.aside, v)
		case ours && here:
			c.here = append(c.here, v)
		case ours:
			c.away = append(c.away, v)
		case here:
			c.strange = append(c.strange, v)
		case v.Status != offloaded:
			c.other = append(c.other, v)
		}
	}
	if len(c.here) == 0 && len(c.strange) > 0 {
		return c, refuse(hypervisor.ErrForeign, nil)
	}
	return c, nil
}

// one looks for the machine that r names, which has to be there: of several copies, the oldest.
func (s *session) one(r hypervisor.Ref) (*server, error) {
	c, err := s.find(r)
	if err != nil {
		return nil, err
	}
	if len(c.here) == 0 {
		return nil, refuse(hypervisor.ErrNotFound, nil)
	}
	return &c.here[0], nil
}
