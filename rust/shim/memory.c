// SPDX-License-Identifier: GPL-2.0
/*
 * Pages of a chosen NUMA node, and one mapping over them.
 */
#include <linux/gfp.h>
#include <linux/mm.h>
#include <linux/vmalloc.h>

#include "shim.h"

/* Rather than killing others for memory, this fails. */
struct page *neural_shim_alloc_page_node(int node, bool exact)
{
	gfp_t gfp = GFP_KERNEL | __GFP_ZERO | __GFP_NOWARN |
		    __GFP_RETRY_MAYFAIL;

	if (node < 0 || node >= nr_node_ids || !node_online(node)) {
		if (exact)
			return NULL;
		node = NUMA_NO_NODE;
	}
	return alloc_pages_node(node, exact ? gfp | __GFP_THISNODE : gfp, 0);
}

unsigned long neural_shim_totalram_pages(void)
{
	return totalram_pages();
}

void neural_shim_free_page(struct page *page)
{
	__free_page(page);
}

void *neural_shim_vmap(struct page **pages, unsigned int count)
{
	return vmap(pages, count, VM_MAP, PAGE_KERNEL);
}

/*
 * The mapping takes over the pages and their array, which kvfree() can free:
 * vfree() frees all. The first page remembers how many there are.
 */
void *neural_shim_vmap_owned(struct page **pages, unsigned int count)
{
	struct page *first = pages[0];
	void *addr = vmap(pages, count, VM_MAP | VM_MAP_PUT_PAGES, PAGE_KERNEL);

	if (addr)
		set_page_private(first, count);
	return addr;
}

/* Tells how many pages there were. */
unsigned int neural_shim_vunmap_owned(void *addr)
{
	struct page *first = vmalloc_to_page(addr);
	unsigned int count = page_private(first);

	set_page_private(first, 0);
	vfree(addr);
	return count;
}

void neural_shim_vunmap(const void *addr)
{
	vunmap(addr);
}

int neural_shim_page_to_nid(const struct page *page)
{
	return page_to_nid(page);
}

/* Of memory in the direct map, such as slab objects. */
int neural_shim_addr_to_nid(const void *addr)
{
	return page_to_nid(virt_to_page(addr));
}

void *neural_shim_page_address(const struct page *page)
{
	return page_address(page);
}
