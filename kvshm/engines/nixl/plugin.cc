/* SPDX-License-Identifier: Apache-2.0 */
/*
 * plugin.cc - kvshm as a NIXL back end: objects of a name, to and from memory (OBJ_SEG, DRAM_SEG)
 *
 * An object is a loose block whose key is the digest of its name.  It is written whole and does not change: who writes
 * a name that is there already has succeeded, and what was there stays.  Reads may take a part.  A transfer is a copy,
 * done when posted; none waits for a daemon that is not there.
 */
#include "abi.hh"

#include <cerrno>
#include <cinttypes>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>

#include <openssl/evp.h>

#include <kvshm/kvshm.h>
#include <kvshm/version.h>

namespace {

constexpr uint32_t object_max = 64 << 20;
constexpr unsigned wait_us = 1000000;	/* for room of one object, for the answer to it */
constexpr unsigned in_flight_max = 256;
constexpr std::chrono::seconds attempt_every(1);

void say(const std::string &what)
{
	fprintf(stderr, "kvshm: nixl: %s\n", what.c_str());
}

kvshm_key digest(const std::string &text)
{
	kvshm_key key;

	if (EVP_Digest(text.data(), text.size(), key.bytes, nullptr, EVP_sha256(), nullptr) != 1)
		abort();	/* only without memory or with a broken library */
	return key;
}

struct object : nixl::metadata {
	kvshm_key key;
};

/* Where objects lie: one namespace, and a handle that is opened as soon as there is a daemon. */
class store {
	std::string socket, instance;
	kvshm_ns_desc desc = {};
	kvshm *k = nullptr;
	uint32_t ns = 0;
	bool has_ns = false, has_said = false;
	std::chrono::steady_clock::time_point next_attempt;
	uint64_t nr_puts = 0;

	int attempt()
	{
		kvshm_options opts = {};
		int ret = 0;

		opts.sz = sizeof(opts);
		opts.socket = socket.empty() ? nullptr : socket.c_str();
		opts.instance = instance.empty() ? nullptr : instance.c_str();
		opts.label = "nixl";
		if (!k)
			ret = kvshm_open(&opts, &k);
		if (!ret)
			ret = kvshm_attach_ns(k, &desc, &ns);
		has_ns = !ret;
		return ret;
	}

	int answers(unsigned max_left, unsigned &in_flight, unsigned &lost)
	{
		while (in_flight > max_left) {
			kvshm_completion done[64];
			int nr = kvshm_poll(k, done, 64, wait_us);

			if (nr <= 0)
				return nr ? nr : -ETIMEDOUT;
			for (int i = 0; i < nr; i++)
				lost += done[i].res < 0 || done[i].nr_dropped;
			in_flight -= (unsigned)nr < in_flight ? (unsigned)nr : in_flight;
		}
		return 0;
	}

public:
	std::mutex lock;	/* of all below; a handle is for one thread at a time */

	explicit store(const nixl::params &params)
	{
		auto text = [&](const char *name) {
			auto it = params.find(name);
			return it == params.end() ? std::string() : it->second;
		};
		std::string layout = text("layout"), bytes = text("object_bytes");

		if (layout.empty())
			throw std::string("parameter layout is wanted: all that makes the bytes of two engines differ and is not in "
					  "the objects' names");
		socket = text("socket");
		instance = text("instance");
		desc.block_len = object_max;
		if (!bytes.empty())
			desc.block_len = (uint32_t)strtoul(bytes.c_str(), nullptr, 10);
		if (desc.block_len < 4096 || desc.block_len > object_max)
			throw std::string("parameter object_bytes: 4096 to 67108864");
		desc.block_tokens = 1;
		memcpy(desc.layout, digest(layout).bytes, sizeof(desc.layout));
		memcpy(desc.fingerprint, digest("kvshm-nixl/1 " + bytes + " " + layout).bytes, sizeof(desc.fingerprint));
		snprintf(desc.label, sizeof(desc.label), "nixl %s", layout.c_str());
	}

	~store() { kvshm_close(k); }

	/* Is there a daemon, or was there one? */
	bool is_open()
	{
		auto now = std::chrono::steady_clock::now();

		if (has_ns || now < next_attempt)
			return has_ns;
		next_attempt = now + attempt_every;
		int ret = attempt();
		if (ret && !has_said)
			say(std::string("no cache until a daemon comes: ") + strerror(-ret));
		has_said = true;
		return !ret;
	}

	nixl::status read(const kvshm_key &key, void *dst, uint64_t offset, size_t len)
	{
		kvshm_pin pin = {};
		kvshm_block block;
		nixl::status ret = nixl::ERR_NOT_FOUND;

		if (kvshm_acquire_loose(k, ns, &key, 1, &pin) != 1)
			return ret;
		if (kvshm_resolve(k, &pin, &key, &block) == 1) {
			ret = nixl::ERR_MISMATCH;
			if (!offset && len == block.length)
				ret = kvshm_get(k, &block, 1, &dst, 0) ? nixl::ERR_BACKEND : nixl::SUCCESS;
			else if (offset <= block.length && len <= block.length - offset) {
				memcpy(dst, (const char *)block.ptr + offset, len);
				ret = nixl::SUCCESS;
			}
		}
		kvshm_release(k, &pin);
		return ret;
	}

	/* All of them, or an error: which ones are there then is not said. */
	nixl::status write(const nixl::known_list &local, const nixl::known_list &remote)
	{
		unsigned in_flight = 0, lost = 0;
		int ret = 0;

		for (size_t i = 0; !ret && i < local.at.size(); i++) {
			const void *src = (const void *)local.at[i].addr;
			uint32_t len = (uint32_t)local.at[i].len;

			ret = kvshm_put(k, ns, nullptr, &static_cast<object *>(remote.at[i].md)->key, &src, &len, 1,
					KVSHM_COMMIT_LOOSE, ++nr_puts, wait_us);
			if (!ret) {
				in_flight++;
				ret = answers(in_flight_max, in_flight, lost);
			}
		}
		int left = answers(0, in_flight, lost);
		return ret || left || lost ? nixl::ERR_BACKEND : nixl::SUCCESS;
	}

	bool has(const std::string &name)
	{
		kvshm_key key = digest(name);
		kvshm_pin pin = {};

		if (kvshm_acquire_loose(k, ns, &key, 1, &pin) != 1)
			return false;
		kvshm_release(k, &pin);
		return true;
	}

	bool is_too_long(size_t len) const { return !len || len > desc.block_len; }
};

class engine : public nixl::engine {
	mutable store objects;

public:
	explicit engine(const nixl::init *in) : nixl::engine(in), objects(*in->custom) {}

	bool supports_remote() const override { return false; }
	bool supports_local() const override { return true; }
	bool supports_notif() const override { return false; }
	nixl::mems supported_mems() const override { return { nixl::DRAM, nixl::OBJ }; }
	nixl::status connect(const std::string &) override { return nixl::SUCCESS; }
	nixl::status disconnect(const std::string &) override { return nixl::SUCCESS; }

	/* A name stands for itself, also before there is an object. */
	nixl::status register_mem(const nixl::named_range &range, const nixl::mem &type, nixl::metadata *&ret_md) override
	{
		if (type == nixl::OBJ && range.name.empty())
			return nixl::ERR_INVALID_PARAM;
		if (type != nixl::OBJ && type != nixl::DRAM)
			return nixl::ERR_NOT_SUPPORTED;
		auto md = std::make_unique<object>();
		md->key = type == nixl::OBJ ? digest(range.name) : kvshm_key{};
		ret_md = md.release();
		return nixl::SUCCESS;
	}

	nixl::status deregister_mem(nixl::metadata *md) override
	{
		delete md;
		return nixl::SUCCESS;
	}

	nixl::status load_local_md(nixl::metadata *in, nixl::metadata *&ret_md) override
	{
		ret_md = in;
		return nixl::SUCCESS;
	}

	nixl::status unload_md(nixl::metadata *) override { return nixl::SUCCESS; }

	nixl::status prepare(const nixl::op &op, const nixl::known_list &local, const nixl::known_list &remote,
			     const std::string &, nixl::request *&ret_req, const void *) const override
	{
		if (local.type != nixl::DRAM || remote.type != nixl::OBJ || local.at.size() != remote.at.size())
			return nixl::ERR_INVALID_PARAM;
		for (size_t i = 0; i < local.at.size(); i++) {
			if (local.at[i].len != remote.at[i].len || objects.is_too_long(local.at[i].len))
				return nixl::ERR_INVALID_PARAM;
			if (op == nixl::WRITE && remote.at[i].addr)	/* a part of what is immutable */
				return nixl::ERR_NOT_SUPPORTED;
		}
		ret_req = new nixl::request;
		return nixl::SUCCESS;
	}

	nixl::status post(const nixl::op &op, const nixl::known_list &local, const nixl::known_list &remote,
			  const std::string &, nixl::request *&, const void *) const override
	{
		std::lock_guard<std::mutex> guard(objects.lock);
		nixl::status ret = nixl::SUCCESS;

		if (!objects.is_open())
			return op == nixl::READ ? nixl::ERR_NOT_FOUND : nixl::ERR_BACKEND;
		if (op == nixl::WRITE)
			return objects.write(local, remote);
		for (size_t i = 0; !ret && i < local.at.size(); i++)
			ret = objects.read(static_cast<object *>(remote.at[i].md)->key, (void *)local.at[i].addr,
					   remote.at[i].addr, local.at[i].len);
		return ret;
	}

	nixl::status check(nixl::request *) const override { return nixl::SUCCESS; }

	nixl::status release(nixl::request *req) const override
	{
		delete req;
		return nixl::SUCCESS;
	}

	nixl::status query(const nixl::named_list &names, std::vector<nixl::answer> &ret_answers) const override
	{
		std::lock_guard<std::mutex> guard(objects.lock);
		bool is_open = objects.is_open();

		ret_answers.clear();
		for (const nixl::named_range &range : names.at)
			ret_answers.push_back(is_open && objects.has(range.name) ? nixl::answer(nixl::params()) : std::nullopt);
		return nixl::SUCCESS;
	}
};

nixl::engine *create(const nixl::init *in)
{
	if (in->type != "KVSHM" || !in->custom) {	/* another layout of what is handed over */
		say("this NIXL is not one of version 1.5");
		return nullptr;
	}
	try {
		return new engine(in);
	} catch (const std::string &why) {
		say(why);
	} catch (const std::bad_alloc &) {
		say("no memory");
	}
	return nullptr;
}

nixl::plugin plugin = {
	nixl::plugin_api,
	create,
	[](nixl::engine *e) { delete e; },
	[] { return "KVSHM"; },
	[] { return KVSHM_VERSION_STRING; },
	[] { return nixl::params{ { "layout", "" }, { "socket", "" }, { "instance", "main" }, { "object_bytes", "67108864" } }; },
	[] { return nixl::mems{ nixl::DRAM, nixl::OBJ }; },
};

}

extern "C" __attribute__((visibility("default"))) nixl::plugin *nixl_plugin_init()
{
	return &plugin;
}

extern "C" __attribute__((visibility("default"))) void nixl_plugin_fini()
{
}
