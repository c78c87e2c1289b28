package customdriver

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/berthage/berthage/hypervisor"
	"github.com/berthage/berthage/pool"
)

// Driver drives hosts. It implements hypervisor.Driver, Describer, Suspender, Resizer and Meter. All methods are safe for
// concurrent use.
type Driver struct {
	grace time.Duration
	hosts map[pool.HostID]*host
}

var (
	_ hypervisor.Driver    = (*Driver)(nil)
	_ hypervisor.Describer = (*Driver)(nil)
	_ hypervisor.Suspender = (*Driver)(nil)
	_ hypervisor.Resizer   = (*Driver)(nil)
	_ hypervisor.Meter     = (*Driver)(nil)
)

// settles is how long after it was ordered a create may still be carried out; the host itself looks at its clock.
const settles = 10 * time.Second

// Describe implements hypervisor.Describer. The clocks of this computer and of a host must agree but for a second or two.
func (d *Driver) Describe(id pool.HostID) hypervisor.Capabilities {
	if d.hosts[id] == nil {
		return hypervisor.Capabilities{}
	}
	return hypervisor.Capabilities{
		CreateUnique: true, // a directory is there once, and host.sh looks and makes it under the host's lock
		Settles:      settles + 5*time.Second,
		Abilities:    []hypervisor.Ability{hypervisor.CanMeter, hypervisor.CanResize, hypervisor.CanSuspend},
	}
}

// Hosts implements hypervisor.Driver. A host that does not answer is listed as it was last seen, without pool.Ready.
func (d *Driver) Hosts(ctx context.Context) ([]pool.Host, error) {
	var out []pool.Host
	var mu sync.Mutex
	var wg sync.WaitGroup
	for _, h := range d.hosts {
		wg.Go(func() {
			seen := h.observe(ctx)
			mu.Lock()
			defer mu.Unlock()
			out = append(out, seen)
		})
	}
	wg.Wait()
	if err := ctx.Err(); err != nil {
		return nil, failed("list hosts", hypervisor.Ref{}, nil, err)
	}
	slices.SortFunc(out, func(a, b pool.Host) int { return cmp.Compare(a.ID, b.ID) })
	return out, nil
}

// observe returns the host as it is now, or as it was last seen.
func (h *host) observe(ctx context.Context) pool.Host {
	ctx, cancel := context.WithTimeout(ctx, 15*time.Second) // one that hangs holds up no other
	defer cancel()
	lines, err := h.call(ctx, request{op: "host", r: hypervisor.Ref{Host: h.id}})
	h.mu.Lock()
	defer h.mu.Unlock()
	h.seen.Conditions = 0
	if n := numbers(find(lines, "host")); err == nil && len(n) == 3 && slices.Min(n) > 0 && slices.Max(n) < 1<<50 { // else no computer
		h.seen.Conditions = pool.Ready
		h.seen.Inventory = make(map[pool.Class]pool.Inventory)
		for class, total := range map[pool.Class]int64{pool.CPU: n[0] * pool.Core, pool.Memory: n[1] * pool.KiB, pool.StorageStandard: n[2]} {
			h.seen.Inventory[class] = pool.Inventory{Total: total, Reserved: h.config.Reserved[class]}
		}
	}
	own, _ := h.seen.Normalize() // a deep copy; what is in it has been checked
	return own
}

// Machines implements hypervisor.Driver.
func (d *Driver) Machines(ctx context.Context, id pool.HostID) ([]hypervisor.Machine, error) {
	const op = "machines"
	h, err := d.host(op, hypervisor.Ref{Host: id})
	if err != nil {
		return nil, err
	}
	lines, err := h.call(ctx, request{op: op, r: hypervisor.Ref{Host: id}})
	if err != nil {
		return nil, err
	}
	return h.machines(op, lines)
}

// machines reads the lines of machines in a reply. One that cannot be understood makes the list fail: left out, a machine of ours
// would be made again elsewhere.
func (h *host) machines(op string, lines [][]string) ([]hypervisor.Machine, error) {
	var out []hypervisor.Machine
	for _, line := range lines {
		if line[0] != "machine" {
			continue
		}
		m, err := h.machine(line)
		if err != nil {
			return nil, failed(op, hypervisor.Ref{Host: h.id}, hypervisor.ErrUnavailable, err)
		}
		out = append(out, m)
	}
	return out, nil
}

func (h *host) machine(line []string) (hypervisor.Machine, error) {
	if len(line) != 5 {
		return hypervisor.Machine{}, errors.New("a machine's line of " + strconv.Itoa(len(line)) + " fields")
	}
	native, power, tag, spec := line[1], line[2], line[3], line[4]
	m := hypervisor.Machine{Ref: hypervisor.Ref{Host: h.id}, Native: native, Name: native, Power: pool.Power(power)}
	if tag == "" { // somebody else's
		return m, nil
	}
	sizes := numbers(strings.Fields(spec))
	if err := json.Unmarshal([]byte(tag), &m.Tag); err != nil || string(m.Machine) != native || len(sizes) < 3 {
		return m, errors.New("the tag or the spec of " + pool.Quote(native) + " cannot be read")
	}
	m.Resources = pool.Resources{pool.CPU: sizes[1], pool.Memory: sizes[2]}
	return m, nil
}

// tagText is a tag as it stands beside its machine: always the same text for the same tag, so that the host can compare it.
func tagText(t hypervisor.Tag) (string, error) {
	b, err := json.Marshal(t)
	return string(b), err
}

// find returns the fields of the first line that begins with a word, without the word.
func find(lines [][]string, word string) []string {
	for _, line := range lines {
		if line[0] == word {
			return line[1:]
		}
	}
	return nil
}

// numbers reads leading fields as numbers, up to the first that is none.
func numbers(fields []string) []int64 {
	var out []int64
	for _, f := range fields {
		n, err := strconv.ParseInt(strings.TrimSpace(f), 10, 64)
		if err != nil {
			break
		}
		out = append(out, n)
	}
	return out
}
