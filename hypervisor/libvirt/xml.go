package libvirt

import (
	"bytes"
	"encoding/xml"
	"fmt"
	"time"
	"unicode/utf8"

	"github.com/berthage/berthage/hypervisor"
	"github.com/berthage/berthage/pool"
)

// The XML that libvirt reads and writes, as far as this driver needs it (https://libvirt.org/format.html). All
// of it goes through encoding/xml.

// tagNamespace is that of the metadata element.
const tagNamespace = "https://github.com/berthage/berthage/libvirt/machine/1"

// tagXML is the metadata element by which a domain is found again. Its namespace is set by newTag and not part of
// the type, because libvirt returns the element without it.
type tagXML struct {
	XMLName    xml.Name
	Ledger     string         `xml:"ledger,attr"`
	Machine    string         `xml:"machine,attr"`
	Launched   int64          `xml:"launched,attr"`
	Revision   int64          `xml:"revision,attr,omitempty"` // of the latest order that was carried out
	Disks      int            `xml:"disks,attr,omitempty"`    // of the spec; zero: the root disk alone, or not known
	Memory     int64          `xml:"memory,attr,omitempty"`   // KiB that it is to have, where libvirt's maximum is another
	From       string         `xml:"from,attr,omitempty"`     // host that it is being moved from: see move.go
	To         string         `xml:"to,attr,omitempty"`       // host that it is being moved to
	Moving     int64          `xml:"moving,attr,omitempty"`   // revision of the order to move it
	Interfaces []interfaceTag `xml:"interface"`
	Snapshots  []snapshotTag  `xml:"snapshot"` // the oldest first
}

func newTag(t hypervisor.Tag) *tagXML {
	return &tagXML{XMLName: xml.Name{Space: tagNamespace, Local: "machine"}, Ledger: t.Ledger, Machine: string(t.Machine), Launched: int64(t.Launched)}
}

// interfaceTag says how an interface was connected, so that its address can be told.
type interfaceTag struct {
	Kind    NetworkKind `xml:"kind,attr"`
	Address string      `xml:"address,attr,omitempty"` // the forwarded port, for UserMode
}

// snapshotTag is a state of a machine's disks that is kept: the files that were theirs, which nothing writes to any more.
type snapshotTag struct {
	Name  string        `xml:"name,attr"`
	Time  time.Time     `xml:"time,attr"`
	Disks []snapshotOne `xml:"disk"`
}

type snapshotOne struct {
	Index  int    `xml:"index,attr"` // in the spec
	File   string `xml:"file,attr"`
	Format Format `xml:"format,attr"`
}

func (t *tagXML) tag() hypervisor.Tag {
	return hypervisor.Tag{Ledger: t.Ledger, Machine: pool.MachineID(t.Machine), Launched: pool.Revision(t.Launched)}
}

type domainXML struct {
	XMLName     xml.Name     `xml:"domain"`
	Type        string       `xml:"type,attr"`
	Name        string       `xml:"name"`
	UUID        string       `xml:"uuid"`
	Metadata    *metadataXML `xml:"metadata"`
	Memory      sizeXML      `xml:"memory"`
	Balloon     *sizeXML     `xml:"currentMemory"`
	VCPUs       vcpuXML      `xml:"vcpu"`
	OS          osXML        `xml:"os"`
	Features    *featuresXML `xml:"features"`
	CPU         *cpuXML      `xml:"cpu"`
	OnPoweroff  string       `xml:"on_poweroff,omitempty"`
	OnReboot    string       `xml:"on_reboot,omitempty"`
	OnCrash     string       `xml:"on_crash,omitempty"`
	Devices     devicesXML   `xml:"devices"`
	CommandLine *commandXML
}

type metadataXML struct{ Tag *tagXML }

type sizeXML struct {
	Unit  string `xml:"unit,attr"`
	Value int64  `xml:",chardata"`
}

// vcpuXML is how many virtual CPUs there can be, and how many there are where that is fewer.
type vcpuXML struct {
	Current int64 `xml:"current,attr,omitempty"`
	Most    int64 `xml:",chardata"`
}

type osXML struct {
	Type osTypeXML `xml:"type"`
}

type osTypeXML struct {
	Arch    string `xml:"arch,attr,omitempty"`
	Machine string `xml:"machine,attr,omitempty"`
	Value   string `xml:",chardata"`
}

type empty struct{}

type featuresXML struct {
	ACPI *empty `xml:"acpi"`
	APIC *empty `xml:"apic"`
}

type cpuXML struct {
	Mode  string       `xml:"mode,attr"`
	Match string       `xml:"match,attr,omitempty"`
	Check string       `xml:"check,attr,omitempty"`
	Model *cpuModelXML `xml:"model"`
}

type cpuModelXML struct {
	Fallback string `xml:"fallback,attr"`
	Value    string `xml:",chardata"`
}

type devicesXML struct {
	Disks       []diskXML       `xml:"disk"`
	Controllers []controllerXML `xml:"controller"`
	Interfaces  []interfaceXML  `xml:"interface"`
	Serials     []serialXML     `xml:"serial"`
	Graphics    []graphicsXML   `xml:"graphics"`
	Video       *videoXML       `xml:"video"`
	RNG         *rngXML         `xml:"rng"`
	Balloon     *balloonXML     `xml:"memballoon"`
}

type diskXML struct {
	Type     string        `xml:"type,attr"`
	Device   string        `xml:"device,attr"`
	Driver   diskDriverXML `xml:"driver"`
	Source   fileXML       `xml:"source"`
	Target   targetXML     `xml:"target"`
	IOTune   *ioTuneXML    `xml:"iotune"`
	ReadOnly *empty        `xml:"readonly"`
	Serial   string        `xml:"serial,omitempty"`
}

type diskDriverXML struct {
	Name    string `xml:"name,attr"`
	Type    string `xml:"type,attr"`
	Discard string `xml:"discard,attr,omitempty"`
}

type fileXML struct {
	File string `xml:"file,attr"`
}

type targetXML struct {
	Dev string `xml:"dev,attr"`
	Bus string `xml:"bus,attr"`
}

type ioTuneXML struct {
	TotalIOPS int64 `xml:"total_iops_sec"`
}

type controllerXML struct {
	Type  string `xml:"type,attr"`
	Model string `xml:"model,attr"`
}

type interfaceXML struct {
	Type   string              `xml:"type,attr"`
	MAC    addressXML          `xml:"mac"`
	Source *interfaceSourceXML `xml:"source"`
	Model  modelXML            `xml:"model"`
}

type addressXML struct {
	Address string `xml:"address,attr"`
}

type interfaceSourceXML struct {
	Network string `xml:"network,attr,omitempty"`
	Bridge  string `xml:"bridge,attr,omitempty"`
}

type modelXML struct {
	Type string `xml:"type,attr"`
}

type serialXML struct {
	Type string  `xml:"type,attr"`
	Log  *logXML `xml:"log"`
}

type logXML struct {
	File   string `xml:"file,attr"`
	Append string `xml:"append,attr,omitempty"`
}

type graphicsXML struct {
	Type     string `xml:"type,attr"`
	Port     int    `xml:"port,attr,omitempty"`
	AutoPort string `xml:"autoport,attr,omitempty"`
	Listen   string `xml:"listen,attr,omitempty"`
}

type videoXML struct {
	Model modelXML `xml:"model"`
}

type rngXML struct {
	Model   string        `xml:"model,attr"`
	Backend rngBackendXML `xml:"backend"`
}

type rngBackendXML struct {
	Model string `xml:"model,attr"`
	Path  string `xml:",chardata"`
}

type balloonXML struct {
	Model string    `xml:"model,attr"`
	Stats *statsXML `xml:"stats"`
}

type statsXML struct {
	Period int `xml:"period,attr"`
}

type commandXML struct {
	XMLName xml.Name     `xml:"http://libvirt.org/schemas/domain/qemu/1.0 commandline"`
	Args    []commandArg `xml:"arg"`
}

type commandArg struct {
	Value string `xml:"value,attr"`
}

type volumeXML struct {
	XMLName    xml.Name        `xml:"volume"`
	Name       string          `xml:"name"`
	Capacity   sizeXML         `xml:"capacity"`
	Allocation *sizeXML        `xml:"allocation"`
	Target     volumeTargetXML `xml:"target"`
	Backing    *backingXML     `xml:"backingStore"`
}

type volumeTargetXML struct {
	Path   string    `xml:"path,omitempty"`
	Format formatXML `xml:"format"`
}

type formatXML struct {
	Type string `xml:"type,attr"`
}

type backingXML struct {
	Path   string    `xml:"path"`
	Format formatXML `xml:"format"`
}

// capabilitiesXML is what a host says of itself (https://libvirt.org/formatcaps.html).
type capabilitiesXML struct {
	HostArch string     `xml:"host>cpu>arch"`
	Guests   []guestXML `xml:"guest"`
}

type guestXML struct {
	OSType   string      `xml:"os_type"`
	Arch     archXML     `xml:"arch"`
	Features featuresXML `xml:"features"`
}

type archXML struct {
	Name     string       `xml:"name,attr"`
	Machines []machineXML `xml:"machine"`
	Domains  []virtXML    `xml:"domain"`
}

type machineXML struct {
	Name string `xml:",chardata"`
}

type virtXML struct {
	Type string `xml:"type,attr"`
}

// bytesXML is a size for XML.
func bytesXML(n int64) sizeXML { return sizeXML{Unit: "bytes", Value: n} }

// write encodes v. Text that XML cannot hold is an error; encoding/xml would put U+FFFD in its place.
func write(v any) (string, error) {
	b, err := xml.Marshal(v)
	if err == nil && bytes.ContainsRune(b, utf8.RuneError) {
		err = invalid("", "", "text that XML can hold")
	}
	if err != nil {
		return "", refuse(hypervisor.ErrInvalid, fmt.Errorf("write XML: %w", err))
	}
	return string(b), nil
}

// parse decodes what a host has sent.
func parse(what, text string, v any) error {
	if err := xml.Unmarshal([]byte(text), v); err != nil {
		return unreadable(what, err)
	}
	return nil
}

func unreadable(what string, err error) error {
	return refuse(hypervisor.ErrUnavailable, fmt.Errorf("%s: the host's answer is not understood: %w", what, err))
}
