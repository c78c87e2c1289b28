package api

import (
	"github.com/berthage/berthage"
	"github.com/berthage/berthage/pool"
)

// LaunchBody asks for an instance.
type LaunchBody struct {
	Project string `json:"project" doc:"Project that it counts for" minLength:"1" maxLength:"63" example:"default"`
	Name    string `json:"name" doc:"Host name of the guest: 1 to 63 lower-case letters, digits and hyphens" minLength:"1" maxLength:"63" example:"web-1"`
	Spec    Spec   `json:"spec" doc:"What is asked"`
	Want    string `json:"want,omitempty" enum:"running,stopped" doc:"What it is to do once it is there" default:"running"`
	Wait    bool   `json:"wait,omitempty" doc:"If there is no room or no quota now, wait for it in the queue instead of being refused"`
}

// Spec is what is asked of an instance: sizes either by flavor or by resources, disks apart.
type Spec struct {
	Kind        string            `json:"kind,omitempty" enum:"vm,container" default:"vm"`
	Image       string            `json:"image" doc:"Name of an image" minLength:"1" maxLength:"63" example:"debian-12"`
	Flavor      string            `json:"flavor,omitempty" doc:"Name of a flavor" maxLength:"63" example:"small"`
	Resources   Amounts           `json:"resources,omitempty" doc:"Without a flavor: amounts per class, cpu in millicores and memory in bytes; storage is asked for by disks"`
	Disks       []Disk            `json:"disks,omitempty" maxItems:"16" doc:"The first is the root disk; without any there is one of the flavor's or the default size"`
	Networks    []Network         `json:"networks,omitempty" maxItems:"16" doc:"One interface each; without any, one on the driver's default network"`
	Constraints *Constraints      `json:"constraints,omitempty" doc:"Narrow the hosts that qualify"`
	Labels      map[string]string `json:"labels,omitempty" doc:"Your own"`
	Guest       *Guest            `json:"guest,omitempty" doc:"What the first boot sets up"`
	Priority    int               `json:"priority,omitempty" minimum:"-1000000000" maximum:"1000000000" doc:"Who gets a place first where not all do, and who may be made to give way; higher is first"`
	Lifetime    int64             `json:"lifetime,omitempty" minimum:"0" maximum:"3153600000" doc:"Seconds that it is expected to exist, a hint for placing: nothing ends because they have passed"`
	Replaceable bool              `json:"replaceable,omitempty" doc:"Nothing on its disks is needed: its machine may be destroyed and made anew of its image elsewhere, when that serves the fleet"`
	Preemptible string            `json:"preemptible,omitempty" enum:"shelve,delete" doc:"It may be made to give way to one of higher priority, and what becomes of it then; absent: it may not"`
}

// Disk is a disk that is asked for.
type Disk struct {
	Size    int64  `json:"size" doc:"Bytes" minimum:"1" example:"21474836480"`
	Storage string `json:"storage,omitempty" doc:"Kind of storage: standard, ssd, nvme, or an operator's own" default:"standard" maxLength:"55" example:"ssd"`
	Mount   string `json:"mount,omitempty" doc:"Where the guest mounts it; not for the root disk" maxLength:"255" example:"/data"`
	IOPS    int64  `json:"iops,omitempty" doc:"Limit and booking in operations per second" minimum:"0"`
}

// Network is an interface that is asked for.
type Network struct {
	Name string `json:"name,omitempty" doc:"As the driver knows it; empty: its default" maxLength:"63"`
}

// Constraints narrow the hosts that qualify, and say which of them are preferred.
type Constraints struct {
	Hosts        []string          `json:"hosts,omitempty" maxItems:"1024" doc:"One of these hosts, by id"`
	Zones        []string          `json:"zones,omitempty" maxItems:"1024" doc:"One of these zones"`
	Labels       map[string]string `json:"labels,omitempty" doc:"All of these host labels"`
	Abilities    []string          `json:"abilities,omitempty" maxItems:"64" doc:"All of these abilities of the host" example:"[\"migrate-live\"]"`
	Tolerations  []Toleration      `json:"tolerations,omitempty" maxItems:"64" doc:"Taints of hosts that do not matter"`
	SameNode     []string          `json:"same_node,omitempty" maxItems:"16" doc:"Classes of which all that the instance takes is on devices of one NUMA node: cpu.dedicated, memory.huge, gpu"`
	Affinity     []Affinity        `json:"affinity,omitempty" maxItems:"16" doc:"Where one of these instances is; the first of those that are to be near each other may be anywhere"`
	AntiAffinity []Affinity        `json:"anti_affinity,omitempty" maxItems:"16" doc:"Where none of these instances is; [{}] keeps the members of a cluster on different hosts"`
	Spread       []Spread          `json:"spread,omitempty" maxItems:"16" doc:"Evenly spread with these instances"`
}

// Toleration lets an instance onto hosts with taints of that key.
type Toleration struct {
	Key   string `json:"key" minLength:"1" maxLength:"63" example:"gpu"`
	Value string `json:"value,omitempty" maxLength:"255" doc:"Empty: of any value"`
}

// Selector selects instances of the same project by one of its fields.
type Selector struct {
	Instances []string          `json:"instances,omitempty" maxItems:"1024" doc:"These, by id"`
	Labels    map[string]string `json:"labels,omitempty" doc:"Those with all of these labels"`
	Cluster   string            `json:"cluster,omitempty" maxLength:"63" doc:"The members of the cluster of this name. With none of the three: the members of the instance's own cluster"`
}

// Affinity binds an instance to others when it is placed, moved, or made anew.
type Affinity struct {
	Selector
	Within string `json:"within,omitempty" maxLength:"63" doc:"The failure domain: key of a host label, or zone; empty: the host" example:"rack"`
	Soft   bool   `json:"soft,omitempty" doc:"Preferred, not required"`
}

// Spread keeps the number of instances per failure domain even.
type Spread struct {
	Selector
	Within  string `json:"within,omitempty" maxLength:"63" doc:"The failure domain: key of a host label, or zone; empty: the host" example:"zone"`
	MaxSkew int    `json:"max_skew,omitempty" minimum:"1" maximum:"1000000" default:"1" doc:"How many more there may be than in the domain that has fewest, of those where it could be placed"`
	Soft    bool   `json:"soft,omitempty" doc:"Preferred, not required"`
}

// Guest is what the first boot sets up. It is personal data: no answer shows it again.
type Guest struct {
	User       string   `json:"user,omitempty" writeOnly:"true" doc:"Login; empty: the image's" maxLength:"32" example:"debian"`
	SSHKeys    []string `json:"ssh_keys,omitempty" writeOnly:"true" maxItems:"64" doc:"Public keys in the form of authorized_keys, without options"`
	Registered bool     `json:"registered_keys,omitempty" writeOnly:"true" doc:"Add the SSH keys that you have registered and that are good now, and, where user is empty, take your login or the daemon's default"`
	UserData   string   `json:"user_data,omitempty" writeOnly:"true" maxLength:"65536" doc:"cloud-init user-data"`
}

func (c *Constraints) constraints() pool.Constraints {
	out := pool.Constraints{Zones: c.Zones, Labels: c.Labels, Abilities: c.Abilities, Affinity: affinity(c.Affinity), AntiAffinity: affinity(c.AntiAffinity)}
	for _, h := range c.Hosts {
		out.Hosts = append(out.Hosts, pool.HostID(h))
	}
	for _, class := range c.SameNode {
		out.SameNode = append(out.SameNode, pool.Class(class))
	}
	for _, t := range c.Tolerations {
		out.Tolerations = append(out.Tolerations, pool.Toleration(t))
	}
	for _, s := range c.Spread {
		out.Spread = append(out.Spread, pool.Spread{Selector: s.selector(), Within: s.Within, MaxSkew: s.MaxSkew, Soft: s.Soft})
	}
	return out
}

func affinity(in []Affinity) (out []pool.Affinity) {
	for _, a := range in {
		out = append(out, pool.Affinity{Selector: a.selector(), Within: a.Within, Soft: a.Soft})
	}
	return out
}

func (s *Selector) selector() pool.Selector {
	out := pool.Selector{Labels: s.Labels, Cluster: s.Cluster}
	for _, id := range s.Instances {
		out.Instances = append(out.Instances, pool.InstanceID(id))
	}
	return out
}

func (b *LaunchBody) launch(token string) berthage.Launch {
	return berthage.Launch{Token: token, Project: b.Project, Name: b.Name, Spec: b.Spec.spec(), Want: pool.Power(b.Want), Wait: b.Wait}
}

func (b *Spec) spec() pool.Spec {
	s := pool.Spec{
		Kind: pool.Kind(b.Kind), Image: b.Image, Flavor: b.Flavor,
		Resources: b.Resources.resources(), Labels: b.Labels,
		Priority: b.Priority, Preemptible: pool.Preemption(b.Preemptible), Replaceable: b.Replaceable, Lifetime: b.Lifetime,
	}
	s.Disks = disks(b.Disks)
	for _, n := range b.Networks {
		s.Networks = append(s.Networks, pool.Network{Name: n.Name})
	}
	if c := b.Constraints; c != nil {
		s.Constraints = c.constraints()
	}
	if g := b.Guest; g != nil {
		s.Guest = pool.Guest{User: g.User, SSHKeys: g.SSHKeys, UserData: g.UserData}
	}
	return s
}

func disks(list []Disk) []pool.Disk {
	var out []pool.Disk
	for _, d := range list {
		out = append(out, pool.Disk{Size: d.Size, Storage: pool.Storage(d.Storage), Mount: d.Mount, IOPS: d.IOPS})
	}
	return out
}
