package daemon

import (
	"errors"
	"fmt"
	"net"
	"strconv"
	"syscall"
)

// triedPorts is how many ports are tried after the one that was asked for.
const triedPorts = 100

// inUse reports whether an address is taken; 10048 is WSAEADDRINUSE.
func inUse(err error) bool {
	return errors.Is(err, syscall.EADDRINUSE) || errors.Is(err, syscall.Errno(10048))
}

// listen listens on the address, or if its port is in use on the next one that is free; moved says that it
// was.
func listen(address string) (l net.Listener, moved bool, err error) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, false, err
	}
	first, err := net.LookupPort("tcp", port)
	if err != nil {
		return nil, false, err
	}
	for p := first; p <= min(first+triedPorts, 65535); p++ {
		l, err = net.Listen("tcp", net.JoinHostPort(host, strconv.Itoa(p)))
		if err == nil {
			return l, p != first, nil
		}
		if !inUse(err) {
			return nil, false, err
		}
	}
	return nil, false, fmt.Errorf("port %d and the %d after it are in use: %w", first, triedPorts, err)
}

// reach returns the URL under which a listener can be reached from this machine, and whether only from it.
func reach(a net.Addr, tls bool) (url string, local bool) {
	scheme := "http"
	if tls {
		scheme = "https"
	}
	t, ok := a.(*net.TCPAddr)
	if !ok {
		return scheme + "://" + a.String(), true
	}
	host, local := t.IP.String(), t.IP.IsLoopback()
	if t.IP.IsUnspecified() {
		host = "127.0.0.1"
	}
	return scheme + "://" + net.JoinHostPort(host, strconv.Itoa(t.Port)), local
}
