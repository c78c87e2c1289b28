package libvirt

import (
	"path"
	"slices"

	lv "github.com/digitalocean/go-libvirt"
)

// layerFile is a file of a machine's disks.
type layerFile struct {
	lv.StorageVol
	path, on string // on: the path of the one that it lies on
	format   Format
}

// layers lists the files of a machine's disks, those that are of no use any more included.
func (s *session) layers(x *definition, dom *domain, family string) ([]layerFile, error) {
	pools, err := s.poolsOf(x, dom)
	if err != nil {
		return nil, err
	}
	var out []layerFile
	for _, p := range pools {
		files, err := s.layerFiles(p, family)
		if err != nil {
			return nil, err
		}
		for _, f := range files {
			if _, ok := diskOf(family, f.Name); ok {
				out = append(out, f)
			}
		}
	}
	return out, nil
}

// countLayers is how many there are.
func (s *session) countLayers(x *definition, dom *domain, family string) (n int, err error) {
	pools, err := s.poolsOf(x, dom)
	if err != nil {
		return 0, err
	}
	for _, p := range pools {
		volumes, err := s.volumes(p, family)
		if err != nil {
			return 0, err
		}
		for _, vol := range volumes {
			if _, ok := diskOf(family, vol.Name); ok {
				n++
			}
		}
	}
	return n, nil
}

// poolsOf returns the storage pools that have files of a machine's disks, read anew.
func (s *session) poolsOf(x *definition, dom *domain) ([]lv.StoragePool, error) {
	var dirs []string
	for _, disk := range x.disks {
		dirs = append(dirs, path.Dir(disk.file()))
	}
	for _, kept := range dom.tag.Snapshots {
		for _, one := range kept.Disks {
			dirs = append(dirs, path.Dir(one.File))
		}
	}
	slices.Sort(dirs)
	var out []lv.StoragePool
	for _, dir := range slices.Compact(dirs) {
		p, err := read(s, func(api *lv.Libvirt) (lv.StoragePool, error) { return api.StoragePoolLookupByTargetPath(dir) })
		if err != nil {
			return nil, err
		}
		if err := s.refresh(p); err != nil {
			return nil, err
		}
		out = append(out, p)
	}
	return out, nil
}

// layerFiles tells of the volumes whose names begin with the prefix what they lie on. One that goes away meanwhile is
// left out.
func (s *session) layerFiles(p lv.StoragePool, prefix string) ([]layerFile, error) {
	volumes, err := s.volumes(p, prefix)
	if err != nil {
		return nil, err
	}
	var out []layerFile
	for _, vol := range volumes {
		text, err := read(s, func(api *lv.Libvirt) (string, error) { return api.StorageVolGetXMLDesc(vol, 0) })
		if said(err, lv.ErrNoStorageVol) {
			continue
		}
		if err != nil {
			return nil, err
		}
		var v volumeXML
		if err := parse("volume", text, &v); err != nil {
			return nil, err
		}
		f := layerFile{StorageVol: vol, path: v.Target.Path, format: Format(v.Target.Format.Type)}
		if v.Backing != nil {
			f.on = v.Backing.Path
		}
		out = append(out, f)
	}
	return out, nil
}

// sweep removes the files of disks that neither the machine nor a snapshot needs any more. What cannot be removed now
// is removed with the machine, if not before.
func (s *session) sweep(x *definition, dom *domain, family string) {
	files, err := s.layers(x, dom, family)
	if err != nil {
		s.h.log.Warn("files of no use are left behind for now", "machine", dom.tag.Machine, "error", err)
		return
	}
	below := make(map[string]string, len(files))
	for _, f := range files {
		below[f.path] = f.on
	}
	needed := make(map[string]bool)
	need := func(file string) {
		for ; file != "" && !needed[file]; file = below[file] {
			needed[file] = true
		}
	}
	for _, disk := range x.disks {
		need(disk.file())
	}
	for _, kept := range dom.tag.Snapshots {
		for _, one := range kept.Disks {
			need(one.File)
		}
	}
	for _, f := range files {
		if needed[f.path] {
			continue
		}
		if err := s.deleteVolume(f.StorageVol); err != nil {
			s.h.log.Warn("a file of no use is left behind for now", "machine", dom.tag.Machine, "volume", f.Name, "error", err)
		}
	}
}

// merge takes the files that are needed only because others lie on them out of the chains of a running machine's disks:
// the file above takes in what is in them where it is the one that is written to, else they take in what is in the file
// above, and stand for it from then on. At every moment every file that a snapshot names has what it had.
func (s *session) merge(dom *domain, family string) error {
	for {
		x, err := s.inspect(dom)
		if err != nil {
			return err
		}
		files, err := s.layers(x, dom, family)
		if err != nil {
			return err
		}
		m := nextMerge(x, dom.tag, files)
		if m == nil {
			return nil
		}
		if m.above == m.disk.file() {
			base := lv.OptString{m.below}
			if m.below == "" {
				base = nil
			}
			err = do(s, func(api *lv.Libvirt) error { return api.DomainBlockRebase(dom.Domain, m.disk.target(), base, 0, 0) })
		} else {
			err = do(s, func(api *lv.Libvirt) error {
				return api.DomainBlockCommit(dom.Domain, m.disk.target(), lv.OptString{m.file}, lv.OptString{m.above}, 0, 0)
			})
		}
		if err == nil {
			err = s.jobDone(dom, m.disk)
		}
		if err != nil {
			return err
		}
		if m.above == m.disk.file() {
			s.sweep(x, dom, family)
			continue
		}
		tag := *dom.tag
		tag.Snapshots = slices.Clone(tag.Snapshots)
		for i := range tag.Snapshots {
			disks := slices.Clone(tag.Snapshots[i].Disks)
			for j := range disks {
				if disks[j].File == m.above {
					disks[j].File, disks[j].Format = m.file, m.format
				}
			}
			tag.Snapshots[i].Disks = disks
		}
		if err := s.revise(dom, x, tag); err != nil {
			return err
		}
		s.sweep(x, dom, family)
	}
}

// merging is a file that can be taken out of the chain of a disk.
type merging struct {
	disk         disk
	file         string
	format       Format
	above, below string // below is empty where it lies on nothing
}

// nextMerge finds a file that no snapshot names and that can be merged; nil: there is none.
func nextMerge(x *definition, t *tagXML, files []layerFile) *merging {
	known, children := make(map[string]layerFile, len(files)), make(map[string]int)
	for _, f := range files {
		known[f.path] = f
		children[f.on]++
	}
	named := make(map[string]bool)
	for _, kept := range t.Snapshots {
		for _, one := range kept.Disks {
			named[one.File] = true
		}
	}
	for _, d := range x.disks {
		above := d.file()
		for {
			f, ok := known[known[above].on]
			if !ok {
				break // the image, or nothing
			}
			// What is written to takes in anything; what another state lies on too must not change.
			if !named[f.path] && (above == d.file() || children[f.path] == 1) {
				return &merging{disk: d, file: f.path, format: f.format, above: above, below: f.on}
			}
			above = f.path
		}
	}
	return nil
}

// jobDone waits until the daemon has done what it was asked to do with a disk. It goes on with it when nobody waits.
func (s *session) jobDone(dom *domain, d disk) error {
	for {
		found, err := read(s, func(api *lv.Libvirt) (int32, error) {
			found, _, _, _, _, err := api.DomainGetBlockJobInfo(dom.Domain, d.target(), 0)
			return found, err
		})
		if err != nil || found == 0 {
			return err
		}
		if err := pause(s.ctx, pollPower); err != nil {
			return err
		}
	}
}
