package openstack

import (
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/berthage/berthage/hypervisor"
	"github.com/berthage/berthage/pool"
)

// groups keeps two creates of one process from making a server group twice.
type groups struct{ mu sync.Mutex }

// serverGroup is a group of Nova's.
type serverGroup struct {
	ID      string   `json:"id"`
	Name    string   `json:"name"`
	Policy  string   `json:"policy"`
	Members []string `json:"members"`
}

// groupPrefix begins the names of all groups that the driver makes, and of no others.
const groupPrefix = "berthage-"

// joinGroup returns the id of the group that an order's machine is to join, making it if it is not there; empty: none.
func (s *session) joinGroup(o *hypervisor.Order) (string, error) {
	if s.d.config.Group == nil {
		return "", nil
	}
	want := s.d.config.Group(*o)
	if want.Name == "" {
		return "", nil
	}
	if err := pool.ValidName(want.Name); err != nil {
		return "", refuse(hypervisor.ErrInvalid, pool.InField("group", err))
	}
	switch want.Policy {
	case Affinity, AntiAffinity, SoftAffinity, SoftAntiAffinity:
	default:
		return "", refuse(hypervisor.ErrInvalid, invalid("group.policy", string(want.Policy), "one of the policies"))
	}
	s = s.apart()
	s.d.groups.mu.Lock()
	defer s.d.groups.mu.Unlock()
	found, err := s.group(want)
	if found != "" || err != nil {
		return found, err
	}
	var made struct {
		Group serverGroup `json:"server_group"`
	}
	body := map[string]any{"server_group": map[string]any{"name": groupPrefix + want.Name, "policy": want.Policy}}
	if err := s.post(nova, "os-server-groups", body, &made); err != nil {
		return "", err
	}
	// Another process may have made one at the same time: all take the same.
	found, err = s.group(want)
	if err == nil && found != made.Group.ID {
		s.deleteGroup(made.Group.ID)
	}
	return found, err
}

// group looks for a group; of several, the one with the lowest id.
func (s *session) group(want Group) (string, error) {
	all, err := s.serverGroups()
	if err != nil {
		return "", err
	}
	for _, g := range all {
		if g.Name == groupPrefix+want.Name && g.Policy == string(want.Policy) {
			return g.ID, nil
		}
	}
	return "", nil
}

// serverGroups lists the project's groups by id.
func (s *session) serverGroups() ([]serverGroup, error) {
	var all []serverGroup
	const page = 200
	for { // Nova sends no links with these
		part, err := list[serverGroup](s, nova, "os-server-groups", "server_groups", url.Values{"limit": {"200"}, "offset": {strconv.Itoa(len(all))}})
		if err != nil {
			return nil, err
		}
		all = append(all, part...)
		if len(part) < page {
			break
		}
	}
	slices.SortFunc(all, func(a, b serverGroup) int { return strings.Compare(a.ID, b.ID) })
	return all, nil
}

// abandonGroup removes a group of ours that no server is in any more but those that are gone, which Nova may go on naming
// for a moment. That it stays where this fails does no harm: the next machine of the group takes it.
func (s *session) abandonGroup(id string, gone map[string]bool) {
	if id == "" {
		return
	}
	s = s.apart()
	s.d.groups.mu.Lock()
	defer s.d.groups.mu.Unlock()
	var answer struct {
		Group serverGroup `json:"server_group"`
	}
	err := s.get(nova, "os-server-groups/"+url.PathEscape(id), &answer)
	inside := slices.ContainsFunc(answer.Group.Members, func(server string) bool { return !gone[server] })
	if err != nil || inside || !strings.HasPrefix(answer.Group.Name, groupPrefix) {
		return
	}
	s.deleteGroup(id)
}

func (s *session) deleteGroup(id string) {
	if err := s.request(nova, http.MethodDelete, "os-server-groups/"+url.PathEscape(id), nil, nil); err != nil {
		s.d.config.Logger.Warn("an empty server group is left behind", "group", id, "error", err)
	}
}
