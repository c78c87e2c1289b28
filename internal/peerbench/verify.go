package peerbench

import "fmt"

// Placed is one instance of a request, on a host. Pool is the number of the storage pool that has its disk; below
// zero where the scheduler knows no pools.
type Placed struct {
	Request string
	Host    string
	Pool    int
}

// Verify reports, as an error, a request of which not every instance is placed, one that nobody made, and a host or
// storage pool that has given out more than it has. What each instance takes is what was asked for, whatever the
// scheduler believes.
func Verify(hosts []Host, reqs []Request, placed []Placed) error {
	at := make(map[string]int, len(hosts))
	taken, pools := make([]Size, len(hosts)), make([][Pools]int64, len(hosts))
	for i := range hosts {
		at[hosts[i].Name], taken[i], pools[i] = i, hosts[i].Taken, hosts[i].Pools
	}
	each, missing := make(map[string]Size, len(reqs)), make(map[string]int, len(reqs))
	for _, r := range reqs {
		each[r.Name] = r.Each
		missing[r.Name] += r.Count
	}
	for _, p := range placed {
		i, ok := at[p.Host]
		if !ok {
			return fmt.Errorf("%s is placed on %q, which is no host", p.Request, p.Host)
		}
		if missing[p.Request] == 0 {
			return fmt.Errorf("%s is placed once too often", p.Request)
		}
		missing[p.Request]--
		taken[i] = taken[i].plus(each[p.Request])
		if !taken[i].within(hosts[i].Total) {
			return fmt.Errorf("host %s has %+v and gave out %+v", p.Host, hosts[i].Total, taken[i])
		}
		if p.Pool < 0 {
			continue
		}
		pools[i][p.Pool] += each[p.Request].Disk
		if pools[i][p.Pool] > hosts[i].Total.Disk/Pools {
			return fmt.Errorf("host %s has pools of %d bytes and gave out %d of one", p.Host, hosts[i].Total.Disk/Pools, pools[i][p.Pool])
		}
	}
	for _, r := range reqs {
		if n := missing[r.Name]; n > 0 {
			return fmt.Errorf("%d instances of %s are not placed", n, r.Name)
		}
	}
	return nil
}
