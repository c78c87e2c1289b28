package customdriver_test

import (
	"context"
	"fmt"
	"log"
	"os"
	"path/filepath"
	"time"

	"github.com/berthage/berthage"
	"github.com/berthage/berthage/examples/customdriver"
	"github.com/berthage/berthage/hypervisor"
	"github.com/berthage/berthage/pool"
)

// A Manager over one host of the driver launches two instances: two programs, which it places, starts, watches and ends.
func Example() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()

	dir, err := os.MkdirTemp("", "customdriver")
	check(err)
	defer os.RemoveAll(dir)
	check(os.Mkdir(filepath.Join(dir, "machines"), 0o700))
	check(os.Mkdir(filepath.Join(dir, "images"), 0o700))
	check(os.WriteFile(filepath.Join(dir, "images", "greeter"), []byte("echo hello from $NAME\nsleep 1000\n"), 0o600))

	driver, err := customdriver.New(customdriver.Config{Hosts: []customdriver.HostConfig{{Name: "here", Dir: dir}}})
	check(err)
	m, err := berthage.Open(ctx, berthage.Config{
		Ledger: pool.NewMemoryLedger(), Ephemeral: true, // for an example: what it launches it also deletes
		Drivers: map[string]hypervisor.Driver{"process": driver},
	})
	check(err)
	done := make(chan error)
	run, end := context.WithCancel(ctx)
	go func() { done <- m.Run(run) }()

	_, err = m.AddHost(ctx, "process/here")
	check(err)
	check(m.PutProject(ctx, pool.Project{Name: "shop"}))
	check(m.PutImage(ctx, pool.Image{Name: "greeter", User: "nobody", Sources: map[string]string{"process": "greeter"}}))
	for _, name := range []string{"web-1", "web-2"} {
		vm, err := m.Launch(ctx, berthage.Launch{Token: name, Project: "shop", Name: name, Spec: pool.Spec{
			Image:     "greeter",
			Resources: pool.Resources{pool.CPU: pool.Core, pool.Memory: pool.GiB},
			Disks:     []pool.Disk{{Size: pool.GiB}},
		}})
		check(err)
		vm, err = m.Wait(ctx, vm.ID, berthage.Settled)
		check(err)
		said, err := os.ReadFile(filepath.Join(dir, "machines", string(vm.Machine()), "console"))
		check(err)
		fmt.Printf("%s is %s on %s: %s", vm.Name, vm.Status(), vm.Place.Host, said)

		_, err = m.Delete(ctx, vm.ID)
		check(err)
		gone, err := m.Wait(ctx, vm.ID, berthage.Settled)
		check(err)
		fmt.Printf("%s is %s\n", vm.Name, gone.Status())
	}
	end()
	<-done
	m.Close()
	// Output:
	// web-1 is running on process/here: hello from web-1
	// web-1 is deleted
	// web-2 is running on process/here: hello from web-2
	// web-2 is deleted
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
