package edge

import (
	"net/http"
	"net/netip"
	"slices"
	"strings"
)

// from returns the address that a request comes from: that of the connection, or, where that is a proxy that is trusted, the last one in
// X-Forwarded-For that is none. What stands before it in the header anybody can have written. Where a proxy says nothing that is an address
// it is the proxy's own.
func from(r *http.Request, proxies []netip.Prefix) netip.Addr {
	peer, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return netip.Addr{}
	}
	at := peer.Addr().Unmap()
	hops := strings.Split(strings.Join(r.Header.Values("X-Forwarded-For"), ","), ",")
	for _, hop := range slices.Backward(hops) {
		if !slices.ContainsFunc(proxies, func(p netip.Prefix) bool { return p.Contains(at) }) {
			break
		}
		next, err := netip.ParseAddr(strings.TrimSpace(hop))
		if err != nil {
			break
		}
		at = next.Unmap().WithZone("")
	}
	return at
}
