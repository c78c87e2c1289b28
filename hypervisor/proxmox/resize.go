package proxmox

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"github.com/berthage/berthage/hypervisor"
	"github.com/berthage/berthage/pool"
)

// early is the error of an order that comes after a later one, or nil.
func (g *guest) early(o hypervisor.Order) error {
	if g.mark.Revision > int64(o.Revision) {
		return refuse(hypervisor.ErrRefused, fmt.Errorf("an order of revision %d has been carried out, this one is of %d", g.mark.Revision, o.Revision))
	}
	return nil
}

// revised returns the guest's description with the revision of the order in it.
func (g *guest) revised(o hypervisor.Order) (string, error) {
	m := *g.mark
	m.Revision = int64(o.Revision)
	return replaceMark(string(g.conf["description"]), &m)
}

// Resize implements hypervisor.Resizer. Disks grow first, which cannot be taken back: where the second of several is refused,
// the outcome is open, and the same order completes it. Cores, memory and the mark of the order follow in one request.
func (d *Driver) Resize(ctx context.Context, o hypervisor.Order) error {
	return d.on(ctx, "resize", o.Ref, func(s *session, g *guest) error {
		if err := o.Spec.Valid(); err != nil {
			return refuse(hypervisor.ErrInvalid, pool.InField("spec", err))
		}
		cores, memory, err := sizes(o.Spec)
		if err != nil {
			return refuse(hypervisor.ErrInvalid, err)
		}
		if err := g.early(o); err != nil {
			return err
		}
		disks := g.conf.disks()
		if n := len(o.Spec.Disks); n != g.mark.Disks {
			return refuse(hypervisor.ErrInvalid, invalid("spec.disks", strconv.Itoa(n), "as many disks as were ordered, "+strconv.Itoa(g.mark.Disks)))
		} else if n > len(disks) {
			return refuse(hypervisor.ErrRefused, fmt.Errorf("the machine has %d disks left of %d", len(disks), n))
		}
		more := make(map[string]int64) // by storage
		same := g.conf.cores() == cores*pool.Core && g.conf.memory() == memory*pool.MiB
		for i, disk := range o.Spec.Disks {
			size := rounded(disk.Size)
			switch has := disks[i].size(); {
			case disk.Size != 0 && size < has:
				return refuse(hypervisor.ErrInvalid, invalid("spec.disks["+strconv.Itoa(i)+"].size", strconv.FormatInt(disk.Size, 10), "at least the "+strconv.FormatInt(has, 10)+" bytes that it has"))
			case size > has:
				more[disks[i].storage()] = addUp(more[disks[i].storage()], size-has)
				same = false
			}
		}
		description, err := g.revised(o)
		if err != nil {
			return refuse(hypervisor.ErrInvalid, err)
		}
		if same {
			if g.mark.Revision == int64(o.Revision) {
				return nil
			}
			return s.describe(g.node, g.vmid, description)
		}
		if p, err := s.power(g); err != nil {
			return err
		} else if p != pool.Stopped {
			return refuse(hypervisor.ErrWrongPower, nil)
		}
		if err := s.room(g.node, more); err != nil {
			return err
		}
		grown := false
		for i, disk := range o.Spec.Disks {
			if rounded(disk.Size) <= disks[i].size() {
				continue
			}
			if err := s.grow(g.node, g.vmid, disks[i].key, rounded(disk.Size)); err != nil {
				return partly(grown, err)
			}
			grown = true
		}
		return partly(grown, s.put(g.node, g.vmid, params{"cores": cores, "sockets": 1, "memory": strconv.FormatInt(memory, 10), "description": description}))
	})
}

// partly is err, made to leave the outcome open where a part has been done.
func partly(done bool, err error) error {
	if err == nil || !done {
		return err
	}
	return refuse(hypervisor.ErrUnknown, err)
}

// room makes sure that storages have so many bytes left.
func (s *session) room(node string, more map[string]int64) error {
	if len(more) == 0 {
		return nil
	}
	here, err := s.storages(node)
	if err != nil {
		return err
	}
	for name, n := range more {
		if st, ok := here[name]; ok && st.Avail.whole() < n {
			return refuse(hypervisor.ErrRefused, errors.Join(hypervisor.ErrFull, fmt.Errorf("storage %s has %d bytes left, and the disks are to grow by %d", pool.Quote(name), st.Avail.whole(), n)))
		}
	}
	return nil
}
