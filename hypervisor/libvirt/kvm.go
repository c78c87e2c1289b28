package libvirt

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	lv "github.com/digitalocean/go-libvirt"

	"github.com/berthage/berthage/internal/inturn"
)

// kvmProbe is what a connection knows of KVM.
type kvmProbe struct {
	turns inturn.Keys[string]
	mu    sync.Mutex
	known bool
	works bool
}

// probeName begins the names of the machines and volumes of the test boot.
const probeName = "berthage-probe-"

// isProbe reports whether a domain is a test boot, of whichever process. Its name alone proves nothing: a machine
// may be called like one.
func isProbe(d lv.Domain) bool {
	word, ok := strings.CutPrefix(d.Name, probeName)
	return ok && d.UUID == probeUUID(word)
}

// probeUUID is the UUID of a test boot, which no machine can have.
func probeUUID(word string) lv.UUID { return ownUUID("berthage probe v1", word) }

// kvmWorks reports whether machines run under KVM. That the host has /dev/kvm, and that libvirt offers it, does
// not prove it: there are hosts whose KVM starts a guest's firmware and hangs or resets when its kernel enters
// 64-bit mode. So a few instructions that do what every kernel does are booted once per connection; see
// bootProbe.
func (b *build) kvmWorks(poolName string) (bool, error) {
	p := &b.c.probe
	done, err := p.turns.Take(b.ctx, "")
	if err != nil {
		return false, err
	}
	defer done()
	p.mu.Lock()
	known, works := p.known, p.works
	p.mu.Unlock()
	if known {
		return works, nil
	}
	switch {
	case !b.c.offers.uploads:
		works = false
		b.h.log.Warn("KVM is not used: there is no way to bring a test machine to the host")
	case b.c.offers.arch != "x86_64":
		b.h.log.Warn("KVM is used untested: there is no test machine for this architecture", "arch", b.c.offers.arch)
		works = true
	default:
		start := time.Now()
		if works, err = b.testBoot(poolName, KVM); err != nil {
			return false, err
		}
		b.h.log.Info("tested KVM", "works", works, "took", time.Since(start).Round(time.Millisecond))
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.known, p.works = true, works
	return works, nil
}

// testBoot boots the test machine and reports whether it has switched itself off. What takes longer than the
// time for it does not work; an error says that nothing was found out.
func (b *build) testBoot(poolName string, how VirtType) (bool, error) {
	vol, err := b.probeVolume(poolName)
	if err != nil {
		return false, fmt.Errorf("test of KVM: %w", err)
	}
	defer func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(b.ctx), 10*time.Second)
		defer cancel()
		if err := b.h.session(ctx).deleteVolume(vol); err != nil {
			b.h.log.Warn("the disk of the test of KVM is left behind", "volume", vol.Name, "error", err)
		}
	}()
	ctx, cancel := context.WithTimeout(b.ctx, b.h.timeouts.Probe)
	defer cancel()
	works, err := b.boot(ctx, vol, how)
	if err != nil && ctx.Err() != nil && b.ctx.Err() == nil {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("test of KVM: %w", err)
	}
	return works, nil
}

// probeIdle is for how long no test machine must run before its disk is taken for one that a dead process has
// left behind: longer than it takes to fill the disk and start the machine.
const probeIdle = 3 * time.Second

// probeVolume makes the disk of the test machine. There is one at a time in a storage pool, so that what a process
// leaves behind that is killed here is found by the next; another's is waited for.
func (b *build) probeVolume(poolName string) (lv.StorageVol, error) {
	idle := time.Now()
	for {
		// SeaBIOS boots no disk that is smaller than a cylinder.
		vol, err := b.createVolume(poolName, probeName+"disk.img", volumeXML{
			Capacity: bytesXML(1 << 20), Target: volumeTargetXML{Format: formatXML{"raw"}},
		})
		if !said(err, lv.ErrStorageVolExist) {
			return vol, err
		}
		domains, err := read(b.session, func(api *lv.Libvirt) ([]lv.Domain, error) {
			l, _, err := api.ConnectListAllDomains(1, lv.ConnectListDomainsActive)
			return l, err
		})
		if err != nil {
			return vol, err
		}
		if slices.ContainsFunc(domains, isProbe) {
			idle = time.Now()
		} else if time.Since(idle) > probeIdle {
			p, err := b.activePool(poolName)
			if err != nil {
				return vol, err
			}
			old, err := read(b.session, func(api *lv.Libvirt) (lv.StorageVol, error) {
				return api.StorageVolLookupByName(p, probeName+"disk.img")
			})
			if err == nil {
				b.h.log.Info("removing the disk of a test of KVM whose process has died", "volume", old.Name)
				err = b.deleteVolume(old)
			}
			if err != nil && !said(err, lv.ErrNoStorageVol) {
				return vol, err
			}
			idle = time.Now()
			continue
		}
		select {
		case <-b.ctx.Done():
			return vol, b.ctx.Err()
		case <-time.After(200 * time.Millisecond):
		}
	}
}

// boot is testBoot without its beginning and end. The machine has a connection of its own, with which libvirt ends
// it, also should this process die.
func (b *build) boot(ctx context.Context, vol lv.StorageVol, how VirtType) (bool, error) {
	word := attempt()
	disk, err := hex.DecodeString(strings.Join(strings.Fields(bootProbe), ""))
	if err != nil {
		return false, err
	}
	if err := b.h.upload(ctx, vol, bytes.NewReader(disk), int64(len(disk))); err != nil {
		return false, err
	}
	path, err := read(b.session, func(api *lv.Libvirt) (string, error) { return api.StorageVolGetPath(vol) })
	if err != nil {
		return false, err
	}
	c, err := open(ctx, b.h.target, b.h.timeouts.Call)
	if err != nil {
		return false, err
	}
	defer c.link.Close()
	defer context.AfterFunc(b.h.life, func() { _ = c.link.Close() })()
	off, reset, err := c.watchEnd(ctx, word)
	if err != nil {
		return false, err
	}
	text, err := write(b.probeDomain(word, path, how))
	if err != nil {
		return false, err
	}
	_, err = ask(ctx, c, func(api *lv.Libvirt) (lv.Domain, error) { return api.DomainCreateXML(text, lv.DomainStartAutodestroy) })
	var no *serverError
	if errors.As(err, &no) {
		b.h.log.Info("a machine under KVM cannot be started", "error", err)
		return false, nil
	}
	if err != nil {
		return false, err
	}
	select {
	case off := <-off:
		return off, nil
	case <-reset:
		return false, nil
	case <-c.link.gone:
		return false, &transportError{sent: true, cause: errLost}
	case <-ctx.Done():
		return false, ctx.Err()
	}
}

// probeDomain is the test machine.
func (b *build) probeDomain(word, path string, how VirtType) *domainXML {
	x := &domainXML{
		Type: string(how), Name: probeName + word, UUID: formatUUID(probeUUID(word)),
		Memory: sizeXML{"MiB", 32}, VCPUs: vcpuXML{Most: 1},
		OS:         osXML{osTypeXML{Arch: b.c.offers.arch, Machine: b.c.offers.machine, Value: "hvm"}},
		OnPoweroff: "destroy", OnReboot: "restart", OnCrash: "destroy",
		Devices: devicesXML{
			Disks: []diskXML{{
				Type: "file", Device: "disk", Driver: diskDriverXML{Name: "qemu", Type: "raw"},
				Source: fileXML{path}, Target: targetXML{"vda", "virtio"}, ReadOnly: &empty{},
			}},
			Controllers: []controllerXML{{"usb", "none"}},
			Balloon:     &balloonXML{Model: "none"},
		},
	}
	b.c.offers.platform(x, "")
	return x
}

// watchEnd tells how the test machine ends: whether it has switched itself off, or that it was reset, as a
// triple fault does.
func (c *conn) watchEnd(ctx context.Context, word string) (off <-chan bool, reset <-chan struct{}, err error) {
	type channels struct{ ends, resets <-chan any }
	subscribed, err := ask(ctx, c, func(api *lv.Libvirt) (channels, error) {
		// Both end with the connection.
		ends, err := api.SubscribeEvents(context.Background(), lv.DomainEventIDLifecycle, nil)
		if err != nil {
			return channels{}, err
		}
		resets, err := api.SubscribeEvents(context.Background(), lv.DomainEventIDReboot, nil)
		return channels{ends, resets}, err
	})
	if err != nil {
		return nil, nil, err
	}
	offs, resets := make(chan bool, 1), make(chan struct{}, 1)
	go func() {
		for e := range subscribed.ends {
			m, ok := e.(*lv.DomainEventCallbackLifecycleMsg)
			if ok && m.Msg.Dom.Name == probeName+word && lv.DomainEventType(m.Msg.Event) == lv.DomainEventStopped {
				select {
				case offs <- lv.DomainEventStoppedDetailType(m.Msg.Detail) == lv.DomainEventStoppedShutdown:
				default:
				}
			}
		}
	}()
	go func() {
		for e := range subscribed.resets {
			if m, ok := e.(*lv.DomainEventCallbackRebootMsg); ok && m.Msg.Dom.Name == probeName+word {
				select {
				case resets <- struct{}{}:
				default:
				}
			}
		}
	}()
	return offs, resets, nil
}
