/* SPDX-License-Identifier: Apache-2.0 */
/*
 * abi.hh - what NIXL's agent and a plug-in hand each other
 *
 * NIXL's packages bring no headers.  Only the layout of these objects, the order of the virtual functions and the
 * values of the constants cross the border, so the names are ours.  They are those of NIXL 1.5, plug-in interface 1,
 * whose objects hold libstdc++'s strings, vectors and maps: the compiler's library must be that one, of GCC 5 or newer.
 */
#ifndef KVSHM_ENGINES_NIXL_ABI_HH
#define KVSHM_ENGINES_NIXL_ABI_HH

#include <chrono>
#include <cstdint>
#include <mutex>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

namespace nixl {

constexpr int plugin_api = 1;

enum mem { DRAM, VRAM, BLK, OBJ, FILE };
enum op { READ, WRITE };
enum status {
	IN_PROG = 1,
	SUCCESS = 0,
	ERR_INVALID_PARAM = -2,
	ERR_BACKEND = -3,
	ERR_NOT_FOUND = -4,
	ERR_MISMATCH = -5,
	ERR_NOT_SUPPORTED = -9,
};

using params = std::unordered_map<std::string, std::string>;
using mems = std::vector<mem>;
using answer = std::optional<params>;

/* How an engine is made. */
struct init {
	std::string agent;
	std::string type;
	params *custom;
	bool has_thread;
	uint64_t thread_delay;
	int sync_mode;
	bool wants_telemetry;
};

/* The plug-in's own of a registered range, and of a transfer. */
struct metadata {
	bool is_private = true;

	virtual ~metadata() = default;
};

struct request {
	virtual ~request() = default;
};

/* A range of memory, or of an object: there @addr is the offset. */
struct range {
	uintptr_t addr;
	size_t len;
	uint64_t device;
};

struct named_range : range {
	std::string name;
};

struct known_range : range {
	metadata *md;
};

template <typename T> struct list {
	mem type;
	std::vector<T> at;

	virtual ~list() = default;
};

using named_list = list<named_range>;
using known_list = list<known_range>;

/* What the agent calls, in the order of its table.  The agent reads the fields itself. */
class engine {
	std::string own_type;
	params own_params;
	std::vector<char> telemetry;
	std::mutex telemetry_lock;
	bool has_failed = false;
	const std::string own_agent;
	const bool wants_telemetry;

public:
	explicit engine(const init *in)
		: own_type(in->type), own_params(*in->custom), own_agent(in->agent), wants_telemetry(in->wants_telemetry)
	{
	}
	engine(const engine &) = delete;
	engine &operator=(const engine &) = delete;

	virtual ~engine() = default;
	virtual bool supports_remote() const = 0;
	virtual bool supports_local() const = 0;
	virtual bool supports_notif() const = 0;
	virtual mems supported_mems() const = 0;
	virtual status register_mem(const named_range &range, const mem &type, metadata *&ret_md) = 0;
	virtual status deregister_mem(metadata *md) = 0;
	virtual status connect(const std::string &agent) = 0;
	virtual status disconnect(const std::string &agent) = 0;
	virtual status unload_md(metadata *md) = 0;
	virtual status prepare(const op &op, const known_list &local, const known_list &remote, const std::string &agent,
			       request *&ret_req, const void *args) const = 0;
	virtual status post(const op &op, const known_list &local, const known_list &remote, const std::string &agent,
			    request *&req, const void *args) const = 0;
	virtual status check(request *req) const = 0;
	virtual status release(request *req) const = 0;
	virtual status prepare_remote_view(const void *, void *&, const void *) const { return ERR_NOT_SUPPORTED; }
	virtual status prepare_local_view(const void *, void *&, const void *) const { return ERR_NOT_SUPPORTED; }
	virtual void release_view(void *) const {}
	virtual status public_data(const metadata *, std::string &) const { return ERR_BACKEND; }
	virtual status conn_info(std::string &) const { return ERR_BACKEND; }
	virtual status load_remote_conn_info(const std::string &, const std::string &) { return ERR_BACKEND; }
	virtual status load_remote_md(const named_range &, const mem &, const std::string &, metadata *&) { return ERR_BACKEND; }
	virtual status load_local_md(metadata *in, metadata *&ret_md) = 0;
	virtual status notifs(void *) { return ERR_BACKEND; }
	virtual status gen_notif(const std::string &, const std::string &) const { return ERR_BACKEND; }
	virtual status query(const named_list &names, std::vector<answer> &ret_answers) const = 0;
	virtual status estimate(const op &, const known_list &, const known_list &, const std::string &, request *const &,
				std::chrono::microseconds &, std::chrono::microseconds &, int &, const void *) const
	{
		return ERR_NOT_SUPPORTED;
	}
};

/* What nixl_plugin_init() returns. */
struct plugin {
	int api;
	engine *(*create)(const init *in);
	void (*destroy)(engine *e);
	const char *(*name)();
	const char *(*version)();
	params (*options)();
	mems (*supported_mems)();
};

}

#endif
