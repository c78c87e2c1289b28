package libvirt

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"sync"

	lv "github.com/digitalocean/go-libvirt"

	"github.com/berthage/berthage/internal/inturn"
	"github.com/berthage/berthage/pool"
)

// host is one libvirt daemon.
type host struct {
	id       pool.HostID
	config   HostConfig
	timeouts Timeouts
	log      *slog.Logger
	target   target

	life context.Context // ends when the driver is closed
	end  context.CancelFunc

	dialing  inturn.Keys[string]         // one connects at a time
	machines inturn.Keys[pool.MachineID] // creating and destroying a machine exclude each other
	imports  inturn.Keys[string]         // one import of an image at a time

	mu      sync.Mutex
	current *conn
	closed  bool
	offers  offers       // of the last connection
	seen    pool.Host    // as last observed; without an ID: never
	ports   map[int]bool // forwarded ports given to machines by this process
}

// offers is what a host has, as far as the driver decides by it.
type offers struct {
	known     bool
	arch      string
	machine   string   // machine type; empty: the daemon's choice
	virtTypes []string // domain types for the architecture, in the daemon's order
	acpi      bool
	apic      bool
	uploads   bool              // volumes can be written
	downloads bool              // volumes can be read
	resizes   bool              // volumes can be resized, which only drivers can that have real disks
	saves     bool              // memory can be kept on disk
	odd       map[string]string // configured storage pools that cannot be used, with their types
	hostname  string
}

func newHost(driver string, c HostConfig, t Timeouts, log *slog.Logger) (*host, error) {
	target, err := parseURI(c.URI)
	if err != nil {
		return nil, err
	}
	id := pool.NewHostID(driver, c.Name)
	life, end := context.WithCancel(context.Background())
	return &host{
		id: id, config: c, timeouts: t, target: target, life: life, end: end,
		log:   log.With("host", string(id)),
		ports: make(map[int]bool),
	}, nil
}

// connect returns the connection, making one when there is none.
func (h *host) connect(ctx context.Context) (*conn, error) {
	if c, err := h.live(); c != nil || err != nil {
		return c, err
	}
	done, err := h.dialing.Take(ctx, "")
	if err != nil {
		return nil, &transportError{cause: err}
	}
	defer done()
	if c, err := h.live(); c != nil || err != nil {
		return c, err
	}
	dial, cancel := context.WithTimeout(ctx, h.timeouts.Dial)
	c, err := open(dial, h.target, h.timeouts.Call)
	cancel()
	if err != nil {
		return nil, unsent(err)
	}
	defer context.AfterFunc(h.life, func() { _ = c.link.Close() })()
	if err := h.setup(ctx, c); err != nil {
		_ = c.link.Close()
		return nil, unsent(err)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		_ = c.link.Close()
		return nil, &transportError{cause: errClosed}
	}
	h.current, h.offers = c, c.offers
	return c, nil
}

// unsent is the error of a connection that did not come about: whatever it was, nothing that changes
// something has been sent.
func unsent(err error) error { return &transportError{cause: err} }

func (h *host) live() (*conn, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return nil, &transportError{cause: errClosed}
	}
	if h.current != nil && h.current.usable() {
		return h.current, nil
	}
	h.current = nil
	return nil, nil
}

func (h *host) close() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.closed = true
	h.end()
	if h.current != nil {
		_ = h.current.link.Close()
		h.current = nil
	}
}

// setup finds out what the host offers and starts what the configuration needs.
func (h *host) setup(ctx context.Context, c *conn) error {
	text, err := ask(ctx, c, func(api *lv.Libvirt) (string, error) { return api.ConnectGetCapabilities() })
	if err != nil {
		return err
	}
	var caps capabilitiesXML
	if err := parse("capabilities", text, &caps); err != nil {
		return err
	}
	o := caps.offers()
	if o.hostname, err = ask(ctx, c, func(api *lv.Libvirt) (string, error) { return api.ConnectGetHostname() }); err != nil {
		return err
	}
	// A driver that can transfer volumes answers that this one does not exist, one that cannot says so.
	nowhere := lv.StorageVol{Pool: "berthage-no-such-pool", Name: "none", Key: "/none"}
	for _, probe := range []struct {
		offered *bool
		request func(*lv.Libvirt) error
	}{
		{&o.uploads, func(api *lv.Libvirt) error { return api.StorageVolUpload(nowhere, strings.NewReader(""), 0, 0, 0) }},
		{&o.resizes, func(api *lv.Libvirt) error { return api.StorageVolResize(nowhere, 1<<20, 0) }},
		{&o.downloads, func(api *lv.Libvirt) error { return api.StorageVolDownload(nowhere, &strings.Builder{}, 0, 0, 0) }},
	} {
		_, err := ask(ctx, c, func(api *lv.Libvirt) (struct{}, error) { return struct{}{}, probe.request(api) })
		var no *serverError
		if err != nil && !errors.As(err, &no) {
			return err
		}
		*probe.offered = said(err, lv.ErrNoStorageVol, lv.ErrNoStoragePool)
	}
	nobody := lv.Domain{Name: "berthage-no-such-domain", UUID: ownUUID("berthage nobody v1")}
	_, err = ask(ctx, c, func(api *lv.Libvirt) (int32, error) { return api.DomainHasManagedSaveImage(nobody, 0) })
	var no *serverError
	if err != nil && !errors.As(err, &no) {
		return err
	}
	o.saves = said(err, lv.ErrNoDomain)
	if o.odd, err = h.oddPools(ctx, c); err != nil {
		return err
	}
	o.known = true
	c.offers = o
	if h.config.LeaveInactive {
		return nil
	}
	if err := h.startPools(ctx, c); err != nil {
		return err
	}
	return h.startNetworks(ctx, c)
}

// oddPools returns those of the configured storage pools that cannot be used, with their types: volumes of logical,
// iscsi, rbd and other pools are no files, and machines' disks are.
func (h *host) oddPools(ctx context.Context, c *conn) (map[string]string, error) {
	odd := make(map[string]string)
	for name := range h.config.Pools {
		text, err := ask(ctx, c, func(api *lv.Libvirt) (string, error) {
			p, err := api.StoragePoolLookupByName(name)
			if err != nil {
				return "", err
			}
			return api.StoragePoolGetXMLDesc(p, 0)
		})
		var no *serverError
		if errors.As(err, &no) {
			continue // it is not there, or the daemon does not say
		}
		if err != nil {
			return nil, err
		}
		root, err := readTree("storage pool", text)
		if err != nil {
			return nil, err
		}
		if kind := root.attr("type"); !slices.Contains([]string{"dir", "fs", "netfs"}, kind) {
			odd[name] = kind
			h.log.Warn("cannot be used, as it does not hold files", "storage pool", name, "type", kind)
		}
	}
	return odd, nil
}

// offers reads what matters of the capabilities.
func (caps *capabilitiesXML) offers() offers {
	var o offers
	for _, g := range caps.Guests {
		if g.OSType != "hvm" || g.Arch.Name != caps.HostArch {
			continue
		}
		o.arch = g.Arch.Name
		o.acpi, o.apic = g.Features.ACPI != nil, g.Features.APIC != nil
		for _, d := range g.Arch.Domains {
			o.virtTypes = append(o.virtTypes, d.Type)
		}
		for _, m := range g.Arch.Machines {
			if m.Name == "q35" {
				o.machine = m.Name
			}
		}
		break
	}
	return o
}

// startPools starts the configured storage pools that are inactive. What cannot be started is logged and
// missing from the inventory.
func (h *host) startPools(ctx context.Context, c *conn) error {
	for name := range h.config.Pools {
		if c.offers.odd[name] != "" {
			continue
		}
		_, err := ask(ctx, c, func(api *lv.Libvirt) (struct{}, error) {
			p, err := api.StoragePoolLookupByName(name)
			if err != nil {
				return struct{}{}, err
			}
			active, err := api.StoragePoolIsActive(p)
			if err != nil || active != 0 {
				return struct{}{}, err
			}
			return struct{}{}, api.StoragePoolCreate(p, 0)
		})
		if err := h.warn(err, "storage pool", name); err != nil {
			return err
		}
	}
	return nil
}

// startNetworks starts the libvirt networks that the configuration names and that are inactive.
func (h *host) startNetworks(ctx context.Context, c *conn) error {
	names := []string{h.config.Network}
	for name := range h.config.Networks {
		names = append(names, name)
	}
	var sources []string
	for _, name := range names {
		if n := h.config.network(name); n.Kind == LibvirtNetwork {
			sources = append(sources, n.Source)
		}
	}
	slices.Sort(sources)
	for _, name := range slices.Compact(sources) {
		_, err := ask(ctx, c, func(api *lv.Libvirt) (struct{}, error) {
			n, err := api.NetworkLookupByName(name)
			if err != nil {
				return struct{}{}, err
			}
			active, err := api.NetworkIsActive(n)
			if err != nil || active != 0 {
				return struct{}{}, err
			}
			return struct{}{}, api.NetworkCreate(n)
		})
		if err := h.warn(err, "network", name); err != nil {
			return err
		}
	}
	return nil
}

// warn logs an answer that says no, and returns any other error.
func (h *host) warn(err error, what, name string) error {
	var said *serverError
	if errors.As(err, &said) {
		h.log.Warn("cannot be used as configured", what, name, "error", err)
		return nil
	}
	return err
}
