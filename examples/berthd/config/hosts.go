package config

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/berthage/berthage/pool"
)

// Libvirt is one libvirt host. Only URI is needed.
type Libvirt struct {
	URI     string            `json:"uri"`               // "qemu:///system", "qemu+ssh://root@host/system"
	Name    string            `json:"name,omitempty"`    // of the host in the pool; empty: derived from the URI
	Zone    string            `json:"zone,omitempty"`    // failure domain
	Labels  map[string]string `json:"labels,omitempty"`  // for constraints
	Taints  []pool.Taint      `json:"taints,omitempty"`  // which instances must tolerate
	Pools   map[string]string `json:"pools,omitempty"`   // kind of storage by libvirt storage pool; empty: the pool "default" as standard
	Network string            `json:"network,omitempty"` // of machines that ask for none by name; empty: "default"
	CPU     float64           `json:"cpu,omitempty"`     // over-commit ratio of cores; 0: 1.0
	Virt    string            `json:"virt,omitempty"`    // kvm, qemu (emulation), or auto: kvm where a test boot proves that it works

	// Networks are bridges of the host by the names that specs use for them; other names are those of libvirt's own networks.
	Networks map[string]string `json:"networks,omitempty"`

	// Shared are those of Pools that other hosts see as the same files, so that machines move between them, and with Model, the same on all,
	// and Migrate, the URI by which other hosts reach this one's daemon, as they run. MigrateMemory is where QEMU takes what is sent.
	Shared        []string `json:"shared,omitempty"`
	Model         string   `json:"model,omitempty"`
	Migrate       string   `json:"migrate,omitempty"`
	MigrateMemory string   `json:"migrate_memory,omitempty"`

	// HeadroomCPU, in thousandths of a core, and HeadroomMemory, in bytes, are up to which a machine can be resized while it runs.
	HeadroomCPU    int64 `json:"headroom_cpu,omitempty"`
	HeadroomMemory int64 `json:"headroom_memory,omitempty"`

	// Fence is the command that switches the host off, its absolute path and its arguments; none: nobody can. It must end with success only
	// when it has seen the host off.
	Fence []string `json:"fence,omitempty"`
}

// HostName is the host's name in the pool. It must stay the same for ever; without a name it follows from
// the URI.
func (l Libvirt) HostName() string {
	if l.Name != "" {
		return l.Name
	}
	sum := sha256.Sum256([]byte(l.URI))
	return "host-" + hex.EncodeToString(sum[:4])
}

func checkLibvirt(list []Libvirt) error {
	seen := make(map[string]bool)
	for i, l := range list {
		switch {
		case l.URI == "":
			return fmt.Errorf("libvirt[%d].uri: a URI such as qemu:///system is needed", i)
		case seen[l.HostName()]:
			return fmt.Errorf("libvirt[%d]: a second host of the name %q: give each a name of its own", i, l.HostName())
		case len(l.Fence) > 0 && !strings.HasPrefix(l.Fence[0], "/"):
			return fmt.Errorf("libvirt[%d].fence: %q: the absolute path of a program, and its arguments", i, l.Fence[0])
		}
		for _, name := range l.Shared {
			if _, ok := l.Pools[name]; !ok {
				return fmt.Errorf("libvirt[%d].shared: %q: the name of one of the pools", i, name)
			}
		}
		seen[l.HostName()] = true
	}
	return nil
}

// mostSecret bounds the length of a secret in bytes.
const mostSecret = 4 << 10

// ReadSecret reads a secret from a file, without the end of its line. No message contains any of it.
func ReadSecret(name string) (string, error) {
	f, err := os.Open(name)
	if err != nil {
		return "", err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, mostSecret+1))
	if err != nil {
		return "", err
	}
	s := strings.TrimRight(string(b), "\r\n")
	switch {
	case len(b) > mostSecret:
		return "", fmt.Errorf("%s: larger than 4 KiB", name)
	case s == "" || strings.ContainsAny(s, "\r\n\x00"):
		return "", errors.New(name + ": one line is needed")
	}
	return s, nil
}
