package api

import (
	"crypto/sha256"
	"encoding/base64"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/berthage/berthage/hypervisor"
	"github.com/berthage/berthage/pool"
)

// Amounts is an amount per class of resource: cpu in millicores, memory and storage in bytes, IOPS in
// operations per second, gpu in devices.
type Amounts map[string]int64

func amounts(r pool.Resources) Amounts {
	out := make(Amounts, len(r))
	for c, n := range r {
		out[string(c)] = n
	}
	return out
}

func (a Amounts) resources() pool.Resources {
	if a == nil {
		return nil
	}
	out := make(pool.Resources, len(a))
	for c, n := range a {
		out[pool.Class(c)] = n
	}
	return out
}

// Usage is one class of resource on a host.
type Usage struct {
	Total    int64   `json:"total" doc:"What is physically there"`
	Reserved int64   `json:"reserved" doc:"Of that, used by the host itself and by machines that are not ours"`
	Ratio    float64 `json:"ratio" doc:"Over-commit ratio" example:"2"`
	Capacity int64   `json:"capacity" doc:"What instances may take in sum"`
	Used     int64   `json:"used" doc:"What instances and held allocations take"`
	Free     int64   `json:"free" doc:"Capacity less used; below zero where the host has shrunk under its load"`
}

// HostSummary is a host as lists show it.
type HostSummary struct {
	ID          string            `json:"id" doc:"Driver and native id" example:"sim/node-0001"`
	Name        string            `json:"name" doc:"For people" example:"node-0001.example"`
	Address     string            `json:"address,omitempty" doc:"Name or IP address under which it is managed" example:"192.0.2.1"`
	Zone        string            `json:"zone,omitempty" doc:"Failure domain" example:"a"`
	Labels      map[string]string `json:"labels,omitempty" doc:"For constraints"`
	Taints      []Taint           `json:"taints,omitempty" doc:"What instances must tolerate to be placed there"`
	Cost        float64           `json:"cost,omitempty" doc:"Price per hour, in a currency that all hosts have in common"`
	Conditions  []string          `json:"conditions" nullable:"false" doc:"What is known of it: ready, cordoned, draining, unreachable, fenced"`
	Schedulable bool              `json:"schedulable" doc:"Whether it takes new instances: ready and nothing else"`
	Reason      string            `json:"reason,omitempty" doc:"Of the last change of conditions"`
	Cold        bool              `json:"cold,omitempty" doc:"While it is drained: instances may be stopped for their move"`
	Proof       string            `json:"proof,omitempty" doc:"While it is fenced: how it is known that it is off"`
	Aggregate   bool              `json:"aggregate" doc:"Whether it places by itself, such as a region of a cloud"`
	Resources   map[string]Usage  `json:"resources" doc:"Per class"`
	Instances   int               `json:"instances" doc:"Instances placed on it, those that are being moved to it included"`
	Revision    int64             `json:"revision" doc:"Of the last change of this record"`
}

// Taint keeps instances off a host that do not tolerate it.
type Taint struct {
	Key    string `json:"key" example:"gpu"`
	Value  string `json:"value,omitempty"`
	Effect string `json:"effect" enum:"no-schedule,prefer-no-schedule" doc:"Whether none is placed there, or none as long as another host can take it"`
}

// Host is a host with all that is known of it.
type Host struct {
	HostSummary
	Kinds        []string     `json:"kinds" nullable:"false" doc:"What it runs: vm, container; empty: virtual machines"`
	Devices      []Device     `json:"devices" nullable:"false" doc:"Storage pools and GPUs: each disk or GPU goes whole to one"`
	Shapes       []Shape      `json:"shapes,omitempty" nullable:"false" doc:"The sizes that an aggregate sells"`
	Capabilities Capabilities `json:"capabilities" doc:"What can be asked of it"`
}

// Device is an indivisible part of a class on a host.
type Device struct {
	ID       string            `json:"id" doc:"Unique on the host" example:"ssd-1"`
	Class    string            `json:"class" example:"storage.ssd"`
	Node     string            `json:"node,omitempty" doc:"The NUMA node that it is of, where the driver knows"`
	Total    int64             `json:"total"`
	Reserved int64             `json:"reserved"`
	Capacity int64             `json:"capacity"`
	Used     int64             `json:"used"`
	Labels   map[string]string `json:"labels,omitempty"`
}

// Shape is a size that an aggregate sells.
type Shape struct {
	Name      string     `json:"name"`
	Resources Amounts    `json:"resources"`
	FullUntil *time.Time `json:"full_until,omitempty" doc:"The aggregate has refused it for want of room; until then nothing of that shape is placed there"`
}

// Capabilities says what can be asked of a host, before any call is made.
type Capabilities struct {
	CreateUnique   bool     `json:"create_unique" doc:"The hypervisor itself refuses a second machine of the same id"`
	SettlesSeconds float64  `json:"settles_seconds" doc:"Longest time until a create that was sent becomes visible; 0: not known"`
	FirstBoot      bool     `json:"first_boot" doc:"Users, keys, user-data and mounts are set up at first boot"`
	Abilities      []string `json:"abilities" nullable:"false" doc:"What is offered beyond start and stop: console, fence, meter, migrate, migrate-live, reboot, resize, resize-hot, shelve, snapshot, suspend"`
}

func capabilities(c hypervisor.Capabilities) Capabilities {
	return Capabilities{
		CreateUnique: c.CreateUnique, SettlesSeconds: c.Settles.Seconds(), FirstBoot: c.FirstBoot, Abilities: names(c.Abilities),
	}
}

// names converts a list of a string type; never nil.
func names[T ~string](in []T) []string {
	out := make([]string, len(in))
	for i, v := range in {
		out[i] = string(v)
	}
	return out
}

func hostSummary(h *pool.HostRecord) HostSummary {
	out := HostSummary{
		ID: string(h.ID), Name: h.Name, Address: h.Address, Zone: h.Zone, Labels: h.Labels,
		Conditions: h.Conditions.Names(), Schedulable: h.Conditions.Schedulable(), Reason: h.Reason, Cold: h.Cold, Proof: h.Proof,
		Aggregate: h.Aggregate(), Resources: make(map[string]Usage, len(h.Inventory)),
		Instances: h.Placed, Revision: int64(h.Changed), Cost: float64(h.Cost) / 1e6,
	}
	for _, t := range h.Taints {
		out.Taints = append(out.Taints, Taint{Key: t.Key, Value: t.Value, Effect: string(t.Effect)})
	}
	usage := func(c pool.Class, inv pool.Inventory) {
		ratio := float64(inv.Ratio) / 1000
		if inv.Ratio == 0 {
			ratio = 1
		}
		out.Resources[string(c)] = Usage{
			Total: inv.Total, Reserved: inv.Reserved, Ratio: ratio,
			Capacity: h.Capacity[c], Used: h.Used[c], Free: h.Capacity[c] - h.Used[c],
		}
	}
	for c, inv := range h.Inventory {
		usage(c, inv)
	}
	for c := range h.Used { // a class that the host has lost
		if _, ok := h.Inventory[c]; !ok {
			usage(c, pool.Inventory{})
		}
	}
	return out
}

func host(h *pool.HostRecord, c hypervisor.Capabilities) Host {
	out := Host{HostSummary: hostSummary(h), Kinds: names(h.Kinds), Devices: []Device{}, Capabilities: capabilities(c)}
	for i := range h.Devices {
		d := &h.Devices[i]
		out.Devices = append(out.Devices, Device{
			ID: d.ID, Class: string(d.Class), Node: d.Node, Total: d.Total, Reserved: d.Reserved, Capacity: d.Capacity(),
			Used: h.DeviceUsed[d.ID], Labels: d.Labels,
		})
	}
	for _, s := range h.Shapes {
		shape := Shape{Name: s.Name, Resources: amounts(s.Resources)}
		if f, full := h.FullAt(s.Name, time.Now()); full {
			shape.FullUntil = &f.Until
		}
		out.Shapes = append(out.Shapes, shape)
	}
	return out
}

// Instance is an instance with its machine.
type Instance struct {
	ID          string            `json:"id" doc:"25 letters and digits" example:"i0f8k2m4q6s8v0x2z4b6d8g0j"`
	Name        string            `json:"name" doc:"Host name of the guest" example:"web-1"`
	Project     string            `json:"project" example:"default"`
	Owner       string            `json:"owner,omitempty" doc:"Id of the principal whose it is; absent: nobody's"`
	Status      string            `json:"status" enum:"waiting,reserved,building,undoing,failed,deleting,deleted,shelved,running,stopped,suspended,hibernated,missing,moving,resizing,broken" doc:"One word for people: the phase, or of an active instance what its machine does or is done to; broken: its hypervisor has given it up"`
	Phase       string            `json:"phase" enum:"waiting,reserved,building,active,undoing,shelved,failed,deleting,deleted"`
	Want        string            `json:"want" enum:"running,stopped,suspended,hibernated,shelved,absent" doc:"What it is to do"`
	Is          string            `json:"is" enum:"running,stopped,suspended,hibernated,absent" doc:"What its machine does"`
	Settled     bool              `json:"settled" doc:"Whether it is what it is wanted to be, has failed or is gone"`
	Reason      string            `json:"reason,omitempty" doc:"Of the last failure"`
	Fault       string            `json:"fault,omitempty" doc:"The hypervisor's word that it has given the machine up"`
	Replaceable bool              `json:"replaceable,omitempty" doc:"Its machine may be made anew of its image elsewhere"`
	Lifetime    int64             `json:"lifetime,omitempty" doc:"Seconds that it is expected to exist; a hint"`
	Priority    int               `json:"priority,omitempty" doc:"Who gets a place first where not all do; higher is first"`
	Preempt     string            `json:"preemptible,omitempty" enum:"shelve,delete" doc:"What becomes of it if it is made to give way to one of higher priority"`
	Awaits      string            `json:"awaits,omitempty" doc:"While it waits for a place: the host whose room is kept for it" example:"sim/node-0001"`
	Until       *time.Time        `json:"until,omitempty" doc:"While it is reserved: when its place is given back"`
	Cluster     string            `json:"cluster,omitempty" doc:"That it is a member of: project/name" example:"default/web"`
	Index       *int              `json:"index,omitempty" doc:"Its number there"`
	Kind        string            `json:"kind" enum:"vm,container"`
	Image       string            `json:"image" example:"debian-12"`
	Flavor      string            `json:"flavor,omitempty" example:"small"`
	Resources   Amounts           `json:"resources" doc:"What it takes on its host in all, per class"`
	Disks       []InstanceDisk    `json:"disks" nullable:"false"`
	Networks    []string          `json:"networks" nullable:"false" doc:"Names of networks; an empty name is the driver's default"`
	Labels      map[string]string `json:"labels,omitempty"`
	User        string            `json:"user,omitempty" doc:"Login made at first boot"`
	Keys        []Key             `json:"ssh_keys" nullable:"false" doc:"The keys' fingerprints; the keys themselves are not shown"`
	UserData    bool              `json:"user_data" doc:"Whether there is user-data; it is not shown"`
	Host        string            `json:"host,omitempty" doc:"Where it is placed" example:"sim/node-0001"`
	Machine     string            `json:"machine,omitempty" doc:"Id of its present machine"`
	Shape       string            `json:"shape,omitempty" doc:"Of an aggregate, as which it is booked"`
	Addresses   []string          `json:"addresses" nullable:"false" doc:"Of the guest, as observed"`
	Moving      *Move             `json:"moving,omitempty" doc:"While it is being moved"`
	Resizing    *Resizing         `json:"resizing,omitempty" doc:"While it is being resized; resources are then the larger of both sizes"`
	Anew        *Anew             `json:"made_anew,omitempty" doc:"The last time that it was made anew of its image, if ever: its disks were new then, and what was on them before is not on them"`
	ShelvedOn   string            `json:"shelved_on,omitempty" doc:"Host from which its disks were put aside, while they are"`
	LaunchedAt  *time.Time        `json:"launched_at,omitempty"`
	Revision    int64             `json:"revision" doc:"Of the last change of this record"`
}

// Anew is that an instance was made anew.
type Anew struct {
	Machine string    `json:"machine" doc:"Id of the machine before, whose disks are lost to the instance"`
	Host    string    `json:"host" doc:"Where that machine was" example:"sim/node-0001"`
	At      time.Time `json:"at"`
}

// Move is where an instance is being moved.
type Move struct {
	Host string `json:"host" doc:"Id of the host" example:"sim/node-0002"`
	Cold bool   `json:"cold" doc:"Whether it is stopped for that"`
}

// Resizing is the sizes that an instance is getting.
type Resizing struct {
	Flavor    string  `json:"flavor,omitempty"`
	Resources Amounts `json:"resources" doc:"Per class, without its disks"`
	Disks     []int64 `json:"disks" nullable:"false" doc:"Bytes"`
	Cold      bool    `json:"cold" doc:"Whether it is stopped for that"`
}

// InstanceDisk is a disk of an instance and the device that carries it.
type InstanceDisk struct {
	Size    int64  `json:"size" doc:"Bytes"`
	Storage string `json:"storage" doc:"Kind of storage" example:"ssd"`
	Mount   string `json:"mount,omitempty" example:"/data"`
	IOPS    int64  `json:"iops,omitempty"`
	Device  string `json:"device,omitempty" doc:"Device of the host" example:"ssd-1"`
}

// Key is what is shown of a public key.
type Key struct {
	Type        string `json:"type" example:"ssh-ed25519"`
	Fingerprint string `json:"fingerprint" doc:"As ssh-keygen -l prints it"`
	Comment     string `json:"comment,omitempty"`
}

func key(line string) Key {
	f := strings.SplitN(line, " ", 3)
	k := Key{Type: f[0]}
	if len(f) > 1 {
		if blob, err := base64.StdEncoding.DecodeString(f[1]); err == nil {
			sum := sha256.Sum256(blob)
			k.Fingerprint = "SHA256:" + base64.RawStdEncoding.EncodeToString(sum[:])
		}
	}
	if len(f) > 2 {
		k.Comment = f[2]
	}
	return k
}

func instance(i *pool.Instance) Instance {
	out := Instance{
		ID: string(i.ID), Name: i.Name, Project: i.Project, Owner: i.Owner, Status: i.Status(), Phase: string(i.Phase),
		Want: string(i.Want), Is: string(i.Is), Settled: i.Phase == pool.Deleted || i.Settled(), Reason: i.Reason,
		Kind: string(i.Spec.Kind), Image: i.Spec.Image, Flavor: i.Spec.Flavor, Labels: i.Spec.Labels,
		Disks: []InstanceDisk{}, Networks: []string{}, Keys: []Key{}, Addresses: slices.Clone(i.Addresses),
		User: i.Spec.Guest.User, UserData: i.Spec.Guest.UserData != "", Revision: int64(i.Changed), Resources: Amounts{},
	}
	if i.Spec.Kind == "" {
		out.Kind = string(pool.VM)
	}
	out.Fault, out.Cluster = i.Fault, string(i.Cluster)
	out.Lifetime, out.Replaceable = i.Spec.Lifetime, i.Spec.Replaceable
	out.Priority, out.Preempt, out.Awaits = i.Spec.Priority, string(i.Spec.Preemptible), string(i.Awaits)
	if i.Cluster != "" {
		out.Index = &i.Index
	}
	if !i.Until.IsZero() {
		until := i.Until
		out.Until = &until
	}
	if i.Move != nil {
		out.Moving = &Move{Host: string(i.Move.Host), Cold: i.Move.Cold}
	}
	if r := i.Resize; r != nil {
		out.Resizing = &Resizing{Flavor: r.Sizes.Flavor, Resources: amounts(r.Sizes.Resources), Disks: []int64{}, Cold: r.Cold}
		for _, d := range r.Sizes.Disks {
			out.Resizing.Disks = append(out.Resizing.Disks, d.Size)
		}
	}
	if i.Shelf != nil {
		out.ShelvedOn = string(i.Shelf.Host)
	}
	if a := i.Anew; a != nil {
		out.Anew = &Anew{Machine: string(a.Machine), Host: string(a.Host), At: a.At}
	}
	if out.Addresses == nil {
		out.Addresses = []string{}
	}
	if !i.At.IsZero() {
		at := i.At
		out.LaunchedAt = &at
	}
	devices := make(map[int]string)
	if i.Placed() {
		out.Host, out.Machine, out.Shape = string(i.Place.Host), string(i.Machine()), i.Place.Allocation.Shape
		maps.Copy(out.Resources, amounts(i.Place.Allocation.Resources))
		for _, c := range i.Place.Allocation.Claims {
			if strings.HasPrefix(string(c.Class), "storage.") {
				devices[c.Disk] = c.Device
			}
		}
	}
	for n, d := range i.Spec.Disks {
		s := d.Storage
		if s == "" {
			s = pool.Standard
		}
		out.Disks = append(out.Disks, InstanceDisk{Size: d.Size, Storage: string(s), Mount: d.Mount, IOPS: d.IOPS, Device: devices[n]})
	}
	for _, n := range i.Spec.Networks {
		out.Networks = append(out.Networks, n.Name)
	}
	for _, k := range i.Spec.Guest.SSHKeys {
		out.Keys = append(out.Keys, key(k))
	}
	return out
}
