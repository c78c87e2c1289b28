package daemon

import (
	"net"
	"net/netip"
	"net/url"

	"github.com/berthage/berthage/examples/berthd/config"
	"github.com/berthage/berthage/examples/berthd/passkey"
)

// passkeysAt sets up the passkeys of a daemon that is reached there from its own machine.
func (d *Daemon) passkeysAt(reached string) (*passkey.Passkeys, error) {
	site, err := passkey.SiteOf(address(d.config, reached))
	if err != nil {
		return nil, err
	}
	return passkey.New(passkey.Config{Site: site, Title: "berthd", State: d.books.State, Scratch: d.store})
}

// address returns the address at which people have the dashboard: the one that is configured; or that of the name that is listened on; or
// localhost, where it can be reached by that.
func address(c config.Config, reached string) string {
	if c.PublicURL != "" {
		return c.PublicURL
	}
	u, err := url.Parse(reached)
	if err != nil {
		return ""
	}
	host, _, _ := net.SplitHostPort(c.Listen)
	if ip, err := netip.ParseAddr(host); host == "" || err == nil && (ip.IsLoopback() || ip.IsUnspecified()) {
		host = "localhost"
	}
	u.Host = net.JoinHostPort(host, u.Port())
	return u.String()
}
