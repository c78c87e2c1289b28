package pvetest

import "strings"

// route is a method of the API.
type route struct {
	method, pattern string
	rights          string // "/vms/{vmid} VM.Audit, ..."; empty: any
	params          []field
	handle          func(c *call) (any, error)
	world           bool // without having logged in
	ticketOnly      bool // not with a token
}

// guestPath is the path of a guest.
const guestPath = "/nodes/{node}/qemu/{vmid}"

// table lists the methods with their rights and parameters, written after the documentation of the API. Parameters that
// neither the driver nor the recording uses are left out, so that the driver cannot send what nobody has looked at.
func (s *Server) table() []route {
	type h = func(c *call) (any, error)
	var out []route
	add := func(method, pattern, rights, params string, handle h) *route {
		for _, part := range strings.Split(pattern, "/") {
			if v, ok := strings.CutPrefix(part, "{"); ok {
				v = strings.TrimSuffix(v, "}")
				form := map[string]string{"vmid": "vmid", "node": "node", "storage": "storage", "snapname": "configid"}[v]
				if form == "" {
					form = "text"
				}
				params = v + "!:" + form + " " + params
			}
		}
		out = append(out, route{method: method, pattern: pattern, rights: rights, params: fields(params), handle: handle})
		return &out[len(out)-1]
	}
	guest := func(method, below, privilege, params string, handle h) {
		add(method, guestPath+below, "/vms/{vmid} "+privilege, params, handle)
	}
	add("GET", "/version", "", "", s.version)
	login := add("POST", "/access/ticket", "", "username!:text(64) password!:text", s.login)
	login.world, login.ticketOnly = true, true
	add("GET", "/access/permissions", "", "path:text userid:text", s.permissions)
	add("POST", "/access/users/{userid}/token/{tokenid}", "/access/users User.Modify", "privsep:bool comment:text expire:int(0..)", s.newToken)

	add("GET", "/cluster/nextid", "", "vmid:vmid", s.nextID)
	add("GET", "/cluster/resources", "", "type:enum(vm|storage|node|sdn)", s.resources)
	add("GET", "/cluster/status", "/ Sys.Audit", "", s.clusterStatus)
	add("GET", "/cluster/tasks", "", "", s.taskList)
	add("GET", "/storage", "", "", s.storageConfig)
	add("GET", "/pools", "", "poolid:text", s.listPools)
	add("POST", "/pools", "/pool/{poolid} Pool.Allocate", "poolid!:text comment:text", s.newPool)
	add("PUT", "/pools", "/pool/{poolid} Pool.Allocate", "poolid!:text vms:text storage:text comment:text delete:bool", s.changePool)
	add("DELETE", "/pools", "/pool/{poolid} Pool.Allocate", "poolid!:text", s.deletePool)

	add("GET", "/nodes", "", "", s.listNodes)
	add("GET", "/nodes/{node}/status", "/nodes/{node} Sys.Audit", "", s.nodeStatus)
	add("GET", "/nodes/{node}/version", "", "", s.version)
	add("GET", "/nodes/{node}/network", "", "", s.none)
	add("GET", "/nodes/{node}/rrddata", "/nodes/{node} Sys.Audit", "timeframe!:enum(hour|day|week|month|year|decade) cf:enum(AVERAGE|MAX)", s.rrddata)
	add("GET", "/nodes/{node}/tasks", "", "limit:int(0..) vmid:vmid", s.taskList)
	add("GET", "/nodes/{node}/tasks/{upid}/status", "", "", s.taskStatus)
	add("GET", "/nodes/{node}/tasks/{upid}/log", "", "start:int(0..) limit:int(0..)", s.taskLog)
	add("DELETE", "/nodes/{node}/tasks/{upid}", "", "", s.taskStop)
	add("GET", "/nodes/{node}/storage", "", "content:text storage:storage enabled:bool", s.listStorages)
	add("GET", "/nodes/{node}/storage/{storage}/status", "/storage/{storage} Datastore.Audit|Datastore.AllocateSpace", "", s.storageStatus)
	add("GET", "/nodes/{node}/storage/{storage}/content", "/storage/{storage} Datastore.Audit|Datastore.AllocateSpace", "content:text vmid:vmid", s.storageContent)
	add("DELETE", "/nodes/{node}/storage/{storage}/content/{volume}", "/storage/{storage} Datastore.Allocate", "delay:int(1..30)", s.deleteContent)
	add("POST", "/nodes/{node}/storage/{storage}/upload", "/storage/{storage} Datastore.AllocateTemplate", "content!:enum(iso|vztmpl|import) filename!:text(255)", s.upload)

	add("GET", "/nodes/{node}/qemu", "", "full:bool", s.listGuests)
	add("POST", "/nodes/{node}/qemu", "/vms/{vmid} VM.Allocate", "vmid!:vmid pool:text storage:storage start:bool unique:bool "+configFields, s.createGuest)
	guest("DELETE", "", "VM.Allocate", "purge:bool destroy-unreferenced-disks:bool skiplock:bool", s.deleteGuest)
	guest("GET", "/config", "VM.Audit", "current:bool snapshot:configid", s.getConfig)
	guest("PUT", "/config", "VM.Config.Options|VM.Config.Disk", changeFields, s.putConfig)
	guest("POST", "/config", "VM.Config.Options|VM.Config.Disk", "background_delay:int(1..30) "+changeFields, s.postConfig)
	guest("GET", "/pending", "VM.Audit", "", s.getPending)
	guest("GET", "/cloudinit", "VM.Audit", "", s.cloudInit)
	guest("GET", "/cloudinit/dump", "VM.Audit", "type!:enum(user|network|meta)", s.dumpCloudInit)
	guest("GET", "/status/current", "VM.Audit", "", s.statusCurrent)
	guest("POST", "/clone", "VM.Clone", `newid!:vmid name:dns description:text target:node full:bool storage:storage pool:text
		format:enum(raw|qcow2|vmdk) snapname:configid`, s.clone)
	guest("POST", "/template", "VM.Allocate", "", s.makeTemplate)
	guest("PUT", "/resize", "VM.Config.Disk", "disk!:disk size!:size digest:text(40) skiplock:bool", s.resize)
	guest("POST", "/status/start", "VM.PowerMgmt", "timeout:int(0..)", s.start)
	guest("POST", "/status/stop", "VM.PowerMgmt", "timeout:int(0..)", s.stop)
	guest("POST", "/status/shutdown", "VM.PowerMgmt", "timeout:int(0..) forceStop:bool", s.shutdown)
	guest("POST", "/status/suspend", "VM.PowerMgmt", "todisk:bool statestorage:storage", s.suspend)
	guest("POST", "/status/resume", "VM.PowerMgmt", "", s.resume)
	guest("POST", "/status/reset", "VM.PowerMgmt", "", s.reset)
	guest("POST", "/status/reboot", "VM.PowerMgmt", "timeout:int(0..)", s.reboot)
	guest("GET", "/agent/network-get-interfaces", "VM.GuestAgent.Audit|VM.GuestAgent.Unrestricted", "", s.askAgent)
	guest("POST", "/agent/ping", "VM.GuestAgent.Audit|VM.GuestAgent.Unrestricted", "", s.askAgent)
	guest("POST", "/agent/exec", "VM.GuestAgent.Unrestricted", "command!:text", s.askAgent)
	guest("GET", "/snapshot", "VM.Audit", "", s.listSnapshots)
	guest("POST", "/snapshot", "VM.Snapshot", "snapname!:configid description:text vmstate:bool", s.takeSnapshot)
	guest("POST", "/snapshot/{snapname}/rollback", "VM.Snapshot|VM.Snapshot.Rollback", "start:bool", s.rollback)
	guest("DELETE", "/snapshot/{snapname}", "VM.Snapshot", "force:bool", s.deleteSnapshot)
	guest("PUT", "/snapshot/{snapname}/config", "VM.Snapshot", "description:text", s.describeSnapshot)
	guest("GET", "/feature", "VM.Audit", "feature!:enum(snapshot|clone|copy) snapname:configid", s.feature)
	guest("GET", "/migrate", "VM.Migrate", "target:node", s.migrationCheck)
	guest("POST", "/migrate", "VM.Migrate", "target!:node online:bool with-local-disks:bool targetstorage:text", s.migrate)
	guest("POST", "/vncproxy", "VM.Console", "websocket:bool generate-password:bool", s.vncproxy)
	guest("GET", "/vncwebsocket", "VM.Console", "port!:int(5900..5999) vncticket!:text(512)", s.vncwebsocket)
	return out
}

// find returns the method for a path, and what the path says in the places of its variables.
func (s *Server) find(method, path string) (*route, map[string]string) {
	parts := strings.Split(path, "/")
	for i := range s.routes {
		r := &s.routes[i]
		pattern := strings.Split(r.pattern, "/")
		last := pattern[len(pattern)-1]
		if r.method != method || len(pattern) != len(parts) && !(last == "{volume}" && len(parts) > len(pattern)) {
			continue
		}
		vars := make(map[string]string)
		ok := true
		for j, p := range pattern {
			v, isVar := strings.CutPrefix(p, "{")
			switch {
			case isVar && p == "{volume}":
				vars["volume"] = strings.Join(parts[j:], "/")
			case isVar:
				vars[strings.TrimSuffix(v, "}")] = parts[j]
			case p != parts[j]:
				ok = false
			}
		}
		if ok {
			return r, vars
		}
	}
	return nil, nil
}
