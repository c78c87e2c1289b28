package pvetest_test

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net/http"

	"github.com/berthage/berthage/hypervisor/proxmox/pvetest"
)

// A cluster in which the next request to start a guest is carried out and not answered.
func ExampleNew() {
	s := pvetest.New(pvetest.Config{Nodes: []pvetest.Node{{Name: "pve1"}, {Name: "pve2"}}})
	defer s.Close()
	s.AddTemplate("pve1", 9000, "debian-13", "local", 2<<30)
	s.Inject(pvetest.Fault{Method: "POST", Path: "/status/start", CutAfter: true})

	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(s.CA())
	client := http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}}}
	req, err := http.NewRequest("GET", s.URL()+"/api2/json/cluster/nextid?vmid=9000", nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	req.Header.Set("Authorization", "PVEAPIToken="+s.Token())
	res, err := client.Do(req)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer res.Body.Close()
	body, _ := io.ReadAll(res.Body)
	fmt.Println(res.Status)
	fmt.Println(string(body))
	// Output:
	// 400 Parameter verification failed.
	// {"data":null,"errors":{"vmid":"VM 9000 already exists"},"message":"Parameter verification failed.\n"}
}
