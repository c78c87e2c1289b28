package hetznertest

import (
	"errors"
	"fmt"
	"slices"
	"time"
)

// errNone says that there is no such thing.
var errNone = errors.New("there is no such thing")

// Server is a server of a Cloud.
type Server struct {
	ID       int64
	Name     string
	Location string
	Type     string
	Status   string // "running", "off", ...
	Disk     int    // GB
	Content  string // of the disk: the image that it was made of, and how often a guest has booted since
	Labels   map[string]string
	Group    string // its placement group
	Volumes  []int  // sizes in GB of those attached, in the order in which they were made
}

// Servers returns the servers as they are now, in the order in which they were made.
func (f *Cloud) Servers() []Server {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.settle(time.Now())
	var out []Server
	for _, s := range f.sortedServers() {
		v := Server{ID: s.ID, Name: s.Name, Location: s.Location, Type: s.Type.Name, Status: s.Status, Disk: s.Disk, Content: s.Content, Labels: s.Labels}
		if g := f.groups[s.Group]; g != nil {
			v.Group = g.Name
		}
		for _, vol := range f.sortedVolumes() {
			if vol.Server == s.ID {
				v.Volumes = append(v.Volumes, vol.Size)
			}
		}
		out = append(out, v)
	}
	return out
}

// Billed names everything that costs money: servers, volumes, snapshots and addresses, sorted.
func (f *Cloud) Billed() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.settle(time.Now())
	var out []string
	for _, s := range f.servers {
		out = append(out, "server "+s.Name)
	}
	for _, v := range f.volumes {
		out = append(out, "volume "+v.Name)
	}
	for _, i := range f.images {
		if i.Type == "snapshot" {
			out = append(out, fmt.Sprintf("snapshot %d of %s", i.ID, i.FromName))
		}
	}
	for _, a := range f.addresses {
		out = append(out, fmt.Sprintf("%s address %d", a.Version, a.ID))
	}
	slices.Sort(out)
	return out
}

// AddServer makes a running server of somebody else's.
func (f *Cloud) AddServer(name, location, typeName string, labels map[string]string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	t, ok := f.typeNamed(typeName)
	if !ok || !slices.Contains(locations(), location) {
		return errNone
	}
	s := &server{ID: f.next(), Name: name, Location: location, Type: t, Status: "running", Disk: t.Disk, Labels: labels, Created: time.Now().UTC()}
	f.servers[s.ID] = s
	return nil
}

// RemoveServer removes a server at once, whoever's it is.
func (f *Cloud) RemoveServer(name string) error { return f.change(name, f.remove) }

// Protect protects a server against deletion, or ends that.
func (f *Cloud) Protect(name string, protected bool) error {
	return f.change(name, func(s *server) { s.Protected = protected })
}

// Rename gives a server another name.
func (f *Cloud) Rename(name, next string) error {
	return f.change(name, func(s *server) { s.Name = next })
}

// KeepAddresses says that the addresses of a server are to be kept without it, or not.
func (f *Cloud) KeepAddresses(name string, keep bool) error {
	return f.change(name, func(s *server) {
		for _, a := range f.addresses {
			if a.Server == s.ID {
				a.Keep = keep
			}
		}
	})
}

func (f *Cloud) change(name string, what func(*server)) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.settle(time.Now())
	for _, s := range f.servers {
		if s.Name == name {
			what(s)
			return nil
		}
	}
	return errNone
}

// AddVolume makes a volume of somebody else's.
func (f *Cloud) AddVolume(name, location string, size int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	v := &volume{ID: f.next(), Name: name, Location: location, Size: size, Status: "available", Created: time.Now().UTC()}
	f.volumes[v.ID] = v
}

// AddGroup makes a placement group, for spreading.
func (f *Cloud) AddGroup(name string) { f.add(f.groups, name) }

// AddNetwork makes a network.
func (f *Cloud) AddNetwork(name string) { f.add(f.networks, name) }

// AddKey makes an SSH key.
func (f *Cloud) AddKey(name string) { f.add(f.keys, name) }

func (f *Cloud) add(to map[int64]*named, name string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	n := &named{ID: f.next(), Name: name}
	to[n.ID] = n
}

// SetRoom says how many servers there can be at a location, from now on; what is there stays.
func (f *Cloud) SetRoom(location string, servers int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.room[location] = servers
}
