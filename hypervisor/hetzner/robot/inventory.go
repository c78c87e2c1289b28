package robot

import (
	"context"
	"strconv"
	"strings"

	"github.com/berthage/berthage/pool"
)

// Product names are all that the service tells of hardware, so what is in them the operator has to say.

// Hardware is what a server of a product has.
type Hardware struct {
	Cores  int
	Memory int64 // bytes
	// Disks are bytes by kind of storage, as much of them as is to be used.
	Disks map[pool.Storage]int64
	// Cost of an hour, see pool.Host.
	Cost int64
}

// Inventory lists the servers of an account as hosts.
type Inventory struct {
	Client   *Client
	Driver   string              // the first part of the hosts' ids; the second is the server's number
	Products map[string]Hardware // by the product's name
}

// Hosts lists all servers. One that is not ready, that has been cancelled, or of whose product nothing is known is
// listed without pool.Ready. Their labels have the product and the data centre, where these can be labels.
func (i Inventory) Hosts(ctx context.Context) ([]pool.Host, error) {
	servers, err := i.Client.Servers(ctx)
	if err != nil {
		return nil, err
	}
	out := make([]pool.Host, 0, len(servers))
	for _, s := range servers {
		h := pool.Host{
			ID: pool.NewHostID(i.Driver, strconv.Itoa(s.Number)), Name: clean(s.Name), Address: s.IP, Zone: zone(s.DC),
			Labels:    map[string]string{"robot/product": clean(s.Product), "robot/dc": clean(s.DC)},
			Inventory: make(map[pool.Class]pool.Inventory),
		}
		if h.Name == "" {
			h.Name = strconv.Itoa(s.Number)
		}
		if w, ok := i.Products[s.Product]; ok {
			h.Cost = w.Cost
			h.Inventory[pool.CPU] = pool.Inventory{Total: int64(w.Cores) * pool.Core}
			h.Inventory[pool.Memory] = pool.Inventory{Total: w.Memory}
			for kind, n := range w.Disks {
				h.Inventory[kind.Class()] = pool.Inventory{Total: n}
			}
			if s.Status == "ready" && !s.Cancelled {
				h.Conditions = pool.Ready
			}
		}
		if h, err = h.Normalize(); err != nil {
			return nil, err
		}
		out = append(out, h)
	}
	return out, nil
}

// zone is a data centre as a zone, or none where it cannot be one.
func zone(dc string) string {
	if pool.ValidName(dc) != nil {
		return ""
	}
	return strings.ToLower(dc)
}
