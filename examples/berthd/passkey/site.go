package passkey

import (
	"net"
	"net/netip"
	"net/url"
	"strings"

	"github.com/berthage/berthage/pool"
)

// Site is where passkeys work: on the pages of one origin.
type Site struct {
	Domain string // the relying party's id, that is the host's name: a passkey is for it for good
	Origin string // such as "https://berthage.example"
}

// SiteOf returns the Site of a dashboard at an address, whose path does not matter. Browsers have passkeys only for names, not for IP addresses, and only where
// what they see is what was sent: over TLS, or on the machine itself. What is not so is pool.ErrInvalid, with what would be right.
func SiteOf(address string) (Site, error) {
	u, err := url.Parse(address)
	if err != nil || u.Host == "" {
		return Site{}, unfit("the dashboard's address")
	}
	host, port := strings.ToLower(u.Hostname()), u.Port()
	local := host == "localhost" || strings.HasSuffix(host, ".localhost")
	switch _, notIP := netip.ParseAddr(host); {
	case notIP == nil:
		return Site{}, unfit("a dashboard at a name such as berthd.example: browsers have no passkeys for an IP address")
	case !local && !strings.Contains(strings.Trim(host, "."), "."):
		return Site{}, unfit("a dashboard at a name with a dot, such as berthd.example")
	case strings.Trim(host, "abcdefghijklmnopqrstuvwxyz0123456789-._") != "":
		return Site{}, unfit("a dashboard at a name in letters, digits and hyphens; names in others are written xn--")
	case u.Scheme != "https" && (u.Scheme != "http" || !local):
		return Site{}, unfit("a dashboard at https://: browsers have no passkeys for pages that were not encrypted, but those at http://localhost")
	}
	origin := u.Scheme + "://" + host
	if port != "" && u.Scheme+port != "https443" && u.Scheme+port != "http80" {
		origin = u.Scheme + "://" + net.JoinHostPort(host, port)
	}
	return Site{Domain: host, Origin: origin}, nil
}

func unfit(want string) error {
	return &pool.Error{Op: "use passkeys", Kind: pool.ErrInvalid, Field: "address", Want: want}
}
