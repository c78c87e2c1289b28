package notify

import (
	"fmt"
	"net/netip"
	"slices"
	"syscall"
)

// Guard says which addresses may be called. The zero value allows the public Internet and nothing else: no loopback,
// link-local (metadata services among them), private, shared, multicast, reserved or documentation address, and no IPv6 address
// that is one of these in the form of NAT64, 6to4, IPv4-mapped or ISATAP. The ranges are those of IANA's special-purpose registries.
//
// What counts is the address that a connection is made to, after names have been resolved: a name that resolves
// differently the second time gains nothing.
type Guard struct {
	Allow []netip.Prefix // these too: an internal receiver's own address or network
	Ports []uint16       // only these; empty: any
}

// Check tells whether the address may be called; if not, the error is ErrForbidden.
func (g Guard) Check(to netip.AddrPort) error {
	addr := to.Addr().Unmap()
	if len(g.Ports) > 0 && !slices.Contains(g.Ports, to.Port()) {
		return fmt.Errorf("%w: port %d", ErrForbidden, to.Port())
	}
	for _, p := range g.Allow {
		if p.Contains(addr.WithZone("")) {
			return nil
		}
	}
	if !public(addr) {
		return fmt.Errorf("%w: %v", ErrForbidden, addr)
	}
	return nil
}

// Control is for net.Dialer: it refuses the connection before it is made.
func (g Guard) Control(_, address string, _ syscall.RawConn) error {
	to, err := netip.ParseAddrPort(address)
	if err != nil {
		return ErrForbidden
	}
	return g.Check(to)
}

// public reports whether addr is of the public Internet, and so is what it carries within.
func public(addr netip.Addr) bool {
	if addr.Is4() {
		return !within(addr, "0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.0.0.0/24",
			"192.0.2.0/24", "192.88.99.0/24", "192.168.0.0/16", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/3")
	}
	b := addr.As16()
	if within(addr, "64:ff9b::/96") { // NAT64
		return public(netip.AddrFrom4([4]byte(b[12:])))
	}
	if !within(addr, "2000::/3") || within(addr, "2001::/23", "2001:db8::/32", "3fff::/20") {
		return false
	}
	if within(addr, "2002::/16") { // 6to4
		return public(netip.AddrFrom4([4]byte(b[2:6])))
	}
	if isatap := [4]byte{b[8] &^ 3, b[9], b[10], b[11]}; isatap == [4]byte{0, 0, 0x5e, 0xfe} {
		return public(netip.AddrFrom4([4]byte(b[12:])))
	}
	return true
}

func within(addr netip.Addr, prefixes ...string) bool {
	addr = addr.WithZone("")
	return slices.ContainsFunc(prefixes, func(p string) bool { return netip.MustParsePrefix(p).Contains(addr) })
}
