package openstack

import (
	"context"
	"net/url"

	"github.com/berthage/berthage/hypervisor"
	"github.com/berthage/berthage/pool"
)

// Stranger makes a server of somebody else's that is found where the machine of r would be, and returns how to remove it.
func (d *Driver) Stranger(ctx context.Context, o hypervisor.Order) (remove func() error, err error) {
	s := d.session(ctx)
	body, _, err := s.body(&o, nil, "", func() (string, error) { return s.image(o.Source) })
	if err != nil {
		return nil, err
	}
	server := body["server"].(map[string]any)
	delete(server, "metadata")
	delete(server, "user_data")
	server["name"] = "somebody-else"
	id, err := s.order(body)
	if err != nil {
		return nil, err
	}
	return func() error { return s.remove([]string{id}) }, s.built(id)
}

// Traces names all that the project has and that a machine could leave behind.
func (d *Driver) Traces(ctx context.Context) ([]string, error) {
	s := d.session(ctx)
	var out []string
	servers, err := s.servers(url.Values{})
	if err != nil {
		return nil, err
	}
	for _, v := range servers {
		out = append(out, "server "+v.ID+" "+v.Status)
	}
	type thing struct{ ID, Name string }
	ports, err := list[thing](s, neutron, "ports", "ports", url.Values{})
	if err != nil {
		return nil, err
	}
	for _, p := range ports {
		out = append(out, "port "+p.ID)
	}
	images, err := list[thing](s, glance, "images", "images", url.Values{})
	if err != nil {
		return nil, err
	}
	for _, i := range images {
		out = append(out, "image "+i.ID+" "+i.Name)
	}
	groups, err := s.serverGroups()
	for _, g := range groups {
		out = append(out, "server group "+g.ID)
	}
	return out, err
}

// Send makes a request to Nova as the driver would.
func (d *Driver) Send(ctx context.Context, method, path string, body, into any) error {
	return d.session(ctx).request(nova, method, path, body, into)
}

// Servers returns the ids of the servers that a machine has, wherever they are.
func (d *Driver) Servers(ctx context.Context, m pool.MachineID) ([]string, error) {
	all, err := d.session(ctx).servers(url.Values{"tags": {machineTag(m)}})
	var out []string
	for _, v := range all {
		out = append(out, v.ID)
	}
	return out, err
}

// Expire makes the cloud refuse the driver's token, as when it has expired.
func (d *Driver) Expire(ctx context.Context) error {
	p, err := d.cloud.connect(ctx)
	if err == nil {
		p.client.SetToken("expired")
	}
	return err
}

// MachineTag is the tag of Nova's by which a machine is found.
func MachineTag(m pool.MachineID) string { return machineTag(m) }
