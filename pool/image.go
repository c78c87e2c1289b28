package pool

import (
	"maps"
	"strconv"
	"strings"
)

// Image is what an instance boots. Sources are the operator's: one per driver, by the driver's name, in the
// form that the driver's documentation describes (a file, an existing volume, a template's id, a Glance id).
type Image struct {
	Name    string            `json:"name"`
	OS      string            `json:"os,omitempty"` // for people: "Rocky Linux 9"
	User    string            `json:"user"`         // default login of the image
	MinDisk int64             `json:"min_disk,omitempty"`
	Sources map[string]string `json:"sources,omitempty"`
}

// Valid reports, as an error, what is malformed.
func (i Image) Valid() error {
	if err := ValidName(i.Name); err != nil {
		return err
	}
	if err := ValidText(i.OS, 255); err != nil {
		return InField("os", err)
	}
	if err := ValidUser(i.User); err != nil {
		return err
	}
	if i.MinDisk < 0 {
		return invalid("min_disk", strconv.FormatInt(i.MinDisk, 10), "zero or more bytes")
	}
	for d, src := range i.Sources {
		if err := validNameIn("sources", d); err != nil {
			return err
		}
		if err := ValidText(src, 4096); err != nil || src == "" {
			return invalid("sources."+d, src, "one line of printable text")
		}
	}
	return nil
}

// Clone returns a deep copy.
func (i Image) Clone() Image {
	i.Sources = maps.Clone(i.Sources)
	return i
}

// Catalogue returns the images that Berthage knows by name, with their default logins and without sources,
// in a fixed order. An operator adds the sources.
func Catalogue() []Image {
	return []Image{
		{Name: "centos-7", OS: "CentOS 7", User: "centos"},
		{Name: "debian-12", OS: "Debian 12", User: "debian"},
		{Name: "oracle-8.10", OS: "Oracle Linux 8.10", User: "cloud-user"},
		{Name: "rhel-7", OS: "Red Hat Enterprise Linux 7", User: "cloud-user"},
		{Name: "rhel-8", OS: "Red Hat Enterprise Linux 8", User: "cloud-user"},
		{Name: "rhel-9", OS: "Red Hat Enterprise Linux 9", User: "cloud-user"},
		{Name: "rocky-9", OS: "Rocky Linux 9", User: "rocky"},
		{Name: "ubuntu-20.04", OS: "Ubuntu 20.04 LTS", User: "ubuntu"},
		{Name: "ubuntu-22.04", OS: "Ubuntu 22.04 LTS", User: "ubuntu"},
		{Name: "ubuntu-24.04", OS: "Ubuntu 24.04 LTS", User: "ubuntu"},
	}
}

// Flavor is a named Resources. Its bytes of storage, if any, become the root disk of a spec that asks for
// no disks; all else replaces the spec's Resources.
type Flavor struct {
	Name      string    `json:"name"`
	Resources Resources `json:"resources"`
}

// Valid reports, as an error, what is malformed: at most one class of storage, no IOPS, no instances.
func (f Flavor) Valid() error {
	if err := ValidName(f.Name); err != nil {
		return err
	}
	if err := f.Resources.Valid(); err != nil {
		return InField("resources", err)
	}
	storage := 0
	for _, c := range f.Resources.Classes() {
		if _, ok := strings.CutPrefix(string(c), storagePrefix); ok {
			storage++
		} else if !c.ofSpec() {
			return invalid("resources", string(c), "cpu, memory, gpu, own classes and one kind of storage")
		}
	}
	if storage > 1 {
		return invalid("resources", "", "at most one class of storage, for the root disk")
	}
	return nil
}

// Resolve returns the spec with the flavor's sizes filled in. It is an error to give both a flavor and
// resources of one's own.
func (f Flavor) Resolve(s Spec) (Spec, error) {
	if len(s.Resources.Classes()) > 0 {
		return Spec{}, invalid("resources", "", "either a flavor or resources, not both")
	}
	out := s.Clone()
	out.Resources = make(Resources)
	for _, c := range f.Resources.Classes() {
		if kind, ok := strings.CutPrefix(string(c), storagePrefix); !ok {
			out.Resources[c] = f.Resources[c]
		} else if len(s.Disks) == 0 {
			out.Disks = []Disk{{Size: f.Resources[c], Storage: Storage(kind)}}
		}
	}
	return out, nil
}
