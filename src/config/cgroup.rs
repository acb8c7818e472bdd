//! The memory limit that the container runtime set: the smallest of the process's cgroup and those above it.

use std::path::Path;

/// Kernels say "no limit" as a number near 2^63 in cgroup v1; nothing that large is a limit.
const NO_LIMIT: u64 = 1 << 60;

/// The limit in bytes; none without one. `root` is `/`, save in tests.
pub(super) fn memory_limit(root: &Path) -> Option<u64> {
    let own = std::fs::read_to_string(root.join("proc/self/cgroup")).unwrap_or_default();
    let mut limits = Vec::new();
    for line in own.lines() {
        // v2: `0::/path`; v1: `4:memory:/path`.
        let mut parts = line.splitn(3, ':');
        let (Some(_), Some(controllers), Some(path)) = (parts.next(), parts.next(), parts.next()) else { continue };
        let (mount, file) = match controllers {
            "" => ("sys/fs/cgroup", "memory.max"),
            list if list.split(',').any(|name| name == "memory") => ("sys/fs/cgroup/memory", "memory.limit_in_bytes"),
            _ => continue,
        };
        // In a container the mount shows the container's own group as its root, while the path may be the host's: so
        // every ancestor is tried, and what does not exist is passed over.
        let relative = Path::new(path.trim_start_matches('/'));
        limits.extend(relative.ancestors().filter_map(|group| read(&root.join(mount).join(group).join(file))));
    }
    limits.into_iter().min()
}

fn read(file: &Path) -> Option<u64> {
    let text = std::fs::read_to_string(file).ok()?;
    text.trim().parse().ok().filter(|limit| *limit < NO_LIMIT)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limit(files: &[(&str, &str)]) -> Option<u64> {
        let root = tempfile::tempdir().expect("a directory");
        for (path, text) in files {
            let path = root.path().join(path);
            std::fs::create_dir_all(path.parent().expect("has a parent")).expect("created");
            std::fs::write(path, text).expect("written");
        }
        memory_limit(root.path())
    }

    #[test]
    fn takes_the_smallest_limit_above_the_process() {
        assert_eq!(limit(&[]), None);
        assert_eq!(limit(&[("proc/self/cgroup", "0::/\n"), ("sys/fs/cgroup/memory.max", "max\n")]), None);
        assert_eq!(limit(&[("proc/self/cgroup", "0::/\n"), ("sys/fs/cgroup/memory.max", "1000\n")]), Some(1000));
        let nested = [
            ("proc/self/cgroup", "0::/ecs/task/container\n"),
            ("sys/fs/cgroup/ecs/task/memory.max", "500\n"),
            ("sys/fs/cgroup/ecs/task/container/memory.max", "800\n"),
        ];
        assert_eq!(limit(&nested), Some(500));
    }

    #[test]
    fn reads_version_1_and_its_way_to_say_none() {
        let own = ("proc/self/cgroup", "5:cpu,cpuacct:/x\n4:memory:/docker/abc\n0::/\n");
        let file = "sys/fs/cgroup/memory/memory.limit_in_bytes";
        assert_eq!(limit(&[own, (file, "268435456\n")]), Some(268_435_456));
        assert_eq!(limit(&[own, (file, "9223372036854771712\n")]), None);
    }
}
