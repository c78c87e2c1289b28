package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/berthage/berthage/internal/integration/testbed"
	"github.com/berthage/berthage/pool"
)

// host is what this program reads of a host.
type host struct {
	ID           string   `json:"id"`
	Zone         string   `json:"zone"`
	Conditions   []string `json:"conditions"`
	Schedulable  bool     `json:"schedulable"`
	Reason       string   `json:"reason"`
	Proof        string   `json:"proof"`
	Aggregate    bool     `json:"aggregate"`
	Instances    int      `json:"instances"`
	Capabilities struct {
		Abilities []string `json:"abilities"`
	} `json:"capabilities"`
}

// instance is what this program reads of an instance.
type instance struct {
	ID      string `json:"id"`
	Name    string `json:"name"`
	Status  string `json:"status"`
	Want    string `json:"want"`
	Reason  string `json:"reason"`
	Host    string `json:"host"`
	Machine string `json:"machine"`
	Settled bool   `json:"settled"`

	Addresses []string `json:"addresses"`

	Anew *struct {
		Machine, Host string
		At            time.Time
	} `json:"made_anew"`
}

// get reads what is at a path of the API, without a word in the transcript.
func (f *fleet) get(ctx context.Context, path string, out any) error {
	return f.berthd.Call(ctx, http.MethodGet, "/api/v1"+path, nil, out)
}

// do asks for something and says so.
func (f *fleet) do(ctx context.Context, method, path string, in, out any) error {
	f.t.asked(method, "/api/v1"+path, in)
	return f.berthd.Send(ctx, method, "/api/v1"+path, "", in, out)
}

func (f *fleet) hostNamed(ctx context.Context, id string) (h host, err error) {
	return h, f.get(ctx, "/hosts/"+id, &h)
}

// list reads all instances of a query, by name.
func (f *fleet) list(ctx context.Context, query string) (map[string]instance, error) {
	var page struct {
		Items []instance `json:"items"`
	}
	if err := f.get(ctx, "/instances?limit=1000&"+query, &page); err != nil {
		return nil, err
	}
	out := make(map[string]instance)
	for _, i := range page.Items {
		out[i.Name] = i
	}
	return out, nil
}

func (f *fleet) cluster(ctx context.Context) (map[string]instance, error) {
	return f.list(ctx, "cluster="+url.QueryEscape("demo/fleet"))
}

// on are the names of those that are on a host, sorted.
func on(all map[string]instance, host string) []string {
	var out []string
	for name, i := range all {
		if i.Host == host {
			out = append(out, name)
		}
	}
	slices.SortFunc(out, byNumber)
	return out
}

func byNumber(x, y string) int {
	n := func(s string) int { v, _ := strconv.Atoi(s[strings.LastIndexByte(s, '-')+1:]); return v }
	return n(x) - n(y)
}

// spreading says how many are on each host.
func (f *fleet) spreading(all map[string]instance) string {
	var parts []string
	for _, h := range f.hosts() {
		parts = append(parts, fmt.Sprintf("%-20s %2d  %s", h, len(on(all, h)), strings.Join(on(all, h), " ")))
	}
	return strings.Join(parts, "\n")
}

// hosts are the hosts that must be in the pool.
func (f *fleet) hosts() []string {
	out := []string{hostA, hostB}
	if f.cloud != nil {
		out = append(out, string(f.region))
	}
	return append(out, hostP)
}

// until waits until holds returns nothing that is missing. An error of it ends the waiting.
func until(ctx context.Context, within time.Duration, what string, holds func(context.Context) (missing string, err error)) error {
	deadline := time.Now().Add(within)
	for {
		missing, err := holds(ctx)
		switch {
		case err != nil:
			return fmt.Errorf("%s: %w", what, err)
		case missing == "":
			return nil
		case time.Now().After(deadline):
			return fmt.Errorf("%s: not within %s: %s", what, within, missing)
		}
		if err := testbed.Pause(ctx, 200*time.Millisecond); err != nil {
			return fmt.Errorf("%s: %w: %s", what, err, missing)
		}
	}
}

// qemus are the numbers of the QEMU processes of a libvirt host's guests, by the mount namespace that they share with its daemon, whether that runs
// or not. Those without a guest, which a daemon asks what QEMU can do, are none.
func qemus(l *testbed.Libvirtd) ([]int, error) {
	names, err := filepath.Glob("/proc/[0-9]*/comm")
	if err != nil {
		return nil, err
	}
	var out []int
	for _, name := range names {
		text, err := os.ReadFile(name)
		if err != nil || !strings.HasPrefix(string(text), "qemu-system") { // it has ended meanwhile
			continue
		}
		mounts, err := os.ReadFile(filepath.Join(filepath.Dir(name), "mountinfo"))
		if err != nil || !strings.Contains(string(mounts), " "+l.Dir+"/lib ") {
			continue
		}
		if line, err := os.ReadFile(filepath.Join(filepath.Dir(name), "cmdline")); err != nil || !strings.Contains(string(line), "\x00guest=") {
			continue
		}
		pid, err := strconv.Atoi(filepath.Base(filepath.Dir(name)))
		if err != nil {
			return nil, err
		}
		out = append(out, pid)
	}
	slices.Sort(out)
	return out, nil
}

// domains are those of a libvirt host, by the instances' names.
func domains(ctx context.Context, l *testbed.Libvirtd) (map[string]string, error) {
	all, err := l.Domains(ctx)
	if err != nil {
		return nil, err
	}
	out := make(map[string]string)
	for _, d := range all {
		end := strings.LastIndexByte(d, '-') // the driver adds a word
		if end < 0 {
			return nil, errors.New("a domain that is nobody's: " + d)
		}
		if other, ok := out[d[:end]]; ok {
			return nil, fmt.Errorf("two domains of one instance: %s and %s", other, d)
		}
		out[d[:end]] = d
	}
	return out, nil
}

// elsewhere is what is on the hypervisors beside libvirt, asked of them and not of berthd.
func (f *fleet) elsewhere(ctx context.Context) ([]string, error) {
	var out []string
	for _, id := range f.pve.Guests(node) {
		if id != template {
			out = append(out, hostP+" "+strconv.Itoa(id))
		}
	}
	if f.cloud != nil {
		list, err := f.cloud.Machines(ctx, f.region)
		if err != nil {
			return nil, err
		}
		for _, m := range list {
			out = append(out, string(f.region)+" "+m.Name)
		}
	}
	slices.Sort(out)
	return out, nil
}

// disks are the files of machines in the shared directory: volumes whose names the driver makes of the machine's id.
func (f *fleet) disks(machine string) (int, error) {
	files, err := filepath.Glob(filepath.Join(f.dir, shared, "berthage-"+machine+"-*"))
	return len(files), err
}

// number is the place's number in a machine's id.
func number(machine string) int {
	_, n, ok := pool.MachineID(machine).Split()
	if !ok {
		return -1
	}
	return n
}
