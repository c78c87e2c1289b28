package openstack

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/berthage/berthage/hypervisor"
	"github.com/berthage/berthage/internal/cloudinit"
	"github.com/berthage/berthage/pool"
)

// Create implements hypervisor.Driver. It returns when the server runs, or is known not to: one that Nova accepts and then
// gives up is removed again.
func (d *Driver) Create(ctx context.Context, o hypervisor.Order) error {
	s := d.session(ctx)
	return wrap("create", o.Ref, s.call, s.create(&o, func() (string, error) { return s.image(o.Source) }))
}

// create makes the server of an order from the image whose id source finds out.
func (s *session) create(o *hypervisor.Order, source func() (string, error)) error {
	seed, err := s.check(o)
	if err != nil {
		return err
	}
	if s.d.config.Mode == Hypervisors {
		// Nova accepts what is to go to a service that is down or disabled, and fails later.
		h, err := s.hypervisor(o.Host)
		switch {
		case err != nil:
			return err
		case !h.up():
			return errDown()
		case h.Status != "enabled":
			return refuse(hypervisor.ErrRefused, fmt.Errorf("the hypervisor's compute service is %s", h.Status))
		}
	}
	switch c, err := s.find(o.Ref); {
	case errors.Is(err, hypervisor.ErrForeign) || len(c.here) > 0:
		return refuse(hypervisor.ErrExists, nil)
	case err != nil:
		return err
	}
	attempt := strings.ToLower(rand.Text())
	body, group, err := s.body(o, seed, attempt, source)
	if err != nil {
		return err
	}
	id, err := s.order(body)
	if err != nil && s.ctx.Err() == nil && s.call.lost() {
		id, err = s.landed(o.Ref, attempt, err)
	}
	if err != nil {
		s.abandonGroup(group, nil)
		return err
	}
	if err := s.built(id); err != nil {
		return err
	}
	return s.single(o.Ref, id, attempt)
}

// check reports, as an error, why the order cannot be carried out by any host of the driver, and returns what the guest
// is to read.
func (s *session) check(o *hypervisor.Order) ([]byte, error) {
	bad := func(err error) ([]byte, error) { return nil, refuse(hypervisor.ErrInvalid, err) }
	if err := s.own(o.Host); err != nil {
		return nil, err
	}
	if err := validTag(o.Tag); err != nil {
		return bad(err)
	}
	if err := pool.ValidHostname(o.Name); err != nil {
		return bad(err)
	}
	if err := o.Spec.Valid(); err != nil {
		return bad(pool.InField("spec", err))
	}
	if o.Spec.Kind != "" && o.Spec.Kind != pool.VM {
		return bad(invalid("spec.kind", string(o.Spec.Kind), "vm"))
	}
	if o.Spec.Resources[pool.GPU] != 0 && s.d.config.Mode == Hypervisors {
		return bad(invalid("spec.resources.gpu", "", "no GPUs; only flavors of a region can have them"))
	}
	if len(ordered(o)[keyDisks]) > 255 {
		return bad(invalid("spec.disks", strconv.Itoa(len(o.Spec.Disks)), "fewer disks"))
	}
	seed, err := userData(o)
	if err != nil {
		return bad(err)
	}
	return seed, nil
}

// maxUserData is what Nova takes, in Base64.
const maxUserData = 65535

// userData is the user-data of cloud-init, in Base64. What is too long for Nova is compressed, which cloud-init
// recognises.
//
// Nova makes the ephemeral disks with a file system that is labelled ephemeral0, ephemeral1 and so on.
func userData(o *hypervisor.Order) ([]byte, error) {
	seed := cloudinit.Seed{
		InstanceID: string(o.Machine), Hostname: o.Name,
		User: o.Spec.Guest.User, SSHKeys: o.Spec.Guest.SSHKeys, UserData: o.Spec.Guest.UserData,
	}
	for i, disk := range o.Spec.Disks {
		if disk.Mount != "" {
			seed.Disks = append(seed.Disks, cloudinit.Disk{Label: "ephemeral" + strconv.Itoa(i-1), Mount: disk.Mount})
		}
	}
	plain, err := seed.CloudUserData()
	if err != nil {
		return nil, err
	}
	if base64.StdEncoding.EncodedLen(len(plain)) > maxUserData {
		var b bytes.Buffer
		w := gzip.NewWriter(&b)
		if _, err := w.Write(plain); err != nil {
			return nil, err
		}
		if err := w.Close(); err != nil {
			return nil, err
		}
		plain = b.Bytes()
	}
	out := []byte(base64.StdEncoding.EncodeToString(plain))
	if len(out) > maxUserData {
		return nil, invalid("spec.guest.user_data", strconv.Itoa(len(o.Spec.Guest.UserData)), "less; compressed it is still longer than Nova takes")
	}
	return out, nil
}

// body is the request that makes the server, and the id of the group it joins.
func (s *session) body(o *hypervisor.Order, seed []byte, attempt string, source func() (string, error)) (body map[string]any, group string, err error) {
	c := &s.d.config
	f, err := s.sized(o)
	if err != nil {
		return nil, "", err
	}
	image, err := source()
	if err != nil {
		return nil, "", err
	}
	networks, err := s.networks(o.Spec.Networks)
	if err != nil {
		return nil, "", err
	}
	if group, err = s.joinGroup(o); err != nil {
		return nil, "", err
	}
	about := metadata(o, attempt)
	tags := []string{machineTag(o.Machine)}
	server := map[string]any{
		"name": o.Name, "flavorRef": f.ID, "imageRef": image, "networks": networks, "user_data": string(seed),
		"config_drive": !c.NoConfigDrive, "metadata": about,
	}
	if c.Mode == Hypervisors {
		server["hypervisor_hostname"] = nativeOf(o.Host)
		about[keyHost] = nativeOf(o.Host)
		tags = append(tags, hostTag(nativeOf(o.Host)))
	}
	if c.AvailabilityZone != "" {
		server["availability_zone"] = c.AvailabilityZone
	}
	if len(c.SecurityGroups) > 0 {
		var names []map[string]string
		for _, n := range c.SecurityGroups {
			names = append(names, map[string]string{"name": n})
		}
		server["security_groups"] = names
	}
	if len(o.Spec.Disks) > 1 {
		disks := []map[string]any{{"source_type": "image", "destination_type": "local", "uuid": image, "boot_index": 0, "delete_on_termination": true}}
		for _, disk := range o.Spec.Disks[1:] {
			gib := disk.Size/pool.GiB + min(disk.Size%pool.GiB, 1)
			disks = append(disks, map[string]any{"source_type": "blank", "destination_type": "local", "volume_size": gib, "boot_index": -1, "delete_on_termination": true})
		}
		server["block_device_mapping_v2"] = disks
	}
	server["tags"] = tags
	body = map[string]any{"server": server}
	if group != "" {
		about[keyGroup] = group
		body["os:scheduler_hints"] = map[string]string{"group": group}
	}
	return body, group, nil
}

// order sends the request that makes a server and returns the server's id.
func (s *session) order(body map[string]any) (string, error) {
	var made struct {
		Server struct {
			ID string `json:"id"`
		} `json:"server"`
	}
	err := s.post(nova, "servers", body, &made)
	var no *answer
	if errors.As(err, &no) && no.code == 400 && strings.HasPrefix(no.message, "Compute host ") {
		return "", refuse(hypervisor.ErrNotFound, err) // the hypervisor is not there
	}
	if err == nil && made.Server.ID == "" {
		err = refuse(hypervisor.ErrUnknown, errMalformed)
	}
	return made.Server.ID, err
}

// landed looks for the server of a request whose answer was lost; that none is there yet proves nothing.
func (s *session) landed(r hypervisor.Ref, attempt string, lost error) (id string, err error) {
	lost = refuse(hypervisor.ErrUnknown, lost)
	for n := range 3 {
		if err := pause(s.ctx, s.d.config.poll(n+1)); err != nil {
			return "", lost
		}
		c, err := s.find(r)
		if err != nil {
			return "", lost
		}
		for _, v := range slices.Concat(c.here, c.away) {
			if v.Metadata[keyAttempt] == attempt {
				return v.ID, nil
			}
		}
	}
	return "", lost
}

// built waits until a server that Nova has accepted runs.
func (s *session) built(id string) error {
	missing := 0
	var fault error
	err := s.bring(id, func(v *server) step {
		switch {
		case v == nil:
			// It may not be found at first. Whoever has removed it afterwards knows better than we do.
			if missing++; missing > stills {
				return refused(hypervisor.ErrUnknown, errors.New("the server that Nova has accepted is not there"))
			}
			return step{wait: true}
		case v.Status == failed:
			fault = errors.New(orDefault(s.d.cloud.harmless(v.Fault.Message), "the server is in the status ERROR"))
			if full(v.Fault.Message) {
				fault = fmt.Errorf("%w: %w", hypervisor.ErrFull, fault)
			}
		}
		return done()
	})
	if err != nil || fault == nil {
		return err
	}
	if err := s.remove([]string{id}); err != nil {
		return refuse(hypervisor.ErrUnknown, fmt.Errorf("%w; then it could not be removed: %w", fault, err))
	}
	return refuse(hypervisor.ErrRefused, fault)
}

// single removes what a request that was delivered twice has made beside the server of that id.
func (s *session) single(r hypervisor.Ref, id, attempt string) error {
	c, err := s.find(r)
	if err != nil {
		return refuse(hypervisor.ErrUnknown, err)
	}
	var others []string
	for _, v := range slices.Concat(c.here, c.away) {
		if v.ID != id && v.Metadata[keyAttempt] == attempt {
			others = append(others, v.ID)
		}
	}
	if len(others) == 0 {
		return nil
	}
	if err := s.remove(others); err != nil {
		return refuse(hypervisor.ErrUnknown, fmt.Errorf("more than one server was made of one request: %w", err))
	}
	return nil
}

// image returns the id of the image that a source names: by its id, or by a name that one active image has.
func (s *session) image(source string) (string, error) {
	if source == "" || pool.ValidText(source, 255) != nil {
		return "", refuse(hypervisor.ErrInvalid, invalid("source", source, "the id or the name of an image"))
	}
	if isUUID(source) {
		return source, nil
	}
	type image struct {
		ID     string `json:"id"`
		Name   string `json:"name"`
		Status string `json:"status"`
	}
	found, err := list[image](s, glance, "images", "images", url.Values{"name": {nameFilter(source)}, "status": {"active"}, "limit": {pageSize}})
	if err != nil {
		return "", err
	}
	var ids []string
	for _, i := range found {
		if i.Name == source && i.Status == "active" {
			ids = append(ids, i.ID)
		}
	}
	if len(ids) != 1 {
		return "", refuse(hypervisor.ErrRefused, fmt.Errorf("%d active images have the name %s", len(ids), pool.Quote(source)))
	}
	return ids[0], nil
}

// nameFilter is a name as Glance's filter takes it, which knows operators before a colon and lists with commas.
func nameFilter(name string) string {
	if !strings.ContainsAny(name, `:,"`) {
		return name
	}
	return `in:"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(name) + `"`
}

// isUUID reports whether a text is a UUID in its usual form.
func isUUID(s string) bool {
	if len(s) != 36 {
		return false
	}
	for i, r := range s {
		if dash := i == 8 || i == 13 || i == 18 || i == 23; dash != (r == '-') || !dash && !strings.ContainsRune("0123456789abcdefABCDEF", r) {
			return false
		}
	}
	return true
}

// networks are those of a spec as Nova wants them.
func (s *session) networks(want []pool.Network) (any, error) {
	c := &s.d.config
	if len(want) == 0 {
		want = []pool.Network{{}}
	}
	var out []map[string]string
	for _, n := range want {
		name := orDefault(n.Name, c.Network)
		if name == "" {
			if len(want) > 1 {
				return nil, refuse(hypervisor.ErrInvalid, invalid("spec.networks", "", "names, as there is no default network"))
			}
			return "auto", nil
		}
		value, ok := c.Networks[name]
		if !ok {
			return nil, refuse(hypervisor.ErrInvalid, invalid("spec.networks", name, "one of the driver's configuration"))
		}
		id, err := s.network(value)
		if err != nil {
			return nil, err
		}
		out = append(out, map[string]string{"uuid": id})
	}
	return out, nil
}

// network returns the id of a Neutron network.
func (s *session) network(value string) (string, error) {
	if isUUID(value) {
		return value, nil
	}
	found, err := list[struct{ ID, Name string }](s, neutron, "networks", "networks", url.Values{"name": {value}})
	if err != nil {
		return "", err
	}
	if len(found) != 1 || found[0].Name != value {
		return "", refuse(hypervisor.ErrRefused, fmt.Errorf("%d networks have the name %s", len(found), pool.Quote(value)))
	}
	return found[0].ID, nil
}
