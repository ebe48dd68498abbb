# SPDX-License-Identifier: AGPL-3.0-or-later
#
# What Debian wants to have otherwise than it is installed: cpack runs this on what goes into the
# package.

set(root ${CPACK_TEMPORARY_INSTALL_DIRECTORY}/usr)
set(doc ${root}/share/doc/decnet-host)

string(TIMESTAMP date "%a, %d %b %Y %H:%M:%S +0000" UTC) # or SOURCE_DATE_EPOCH's
file(WRITE ${doc}/changelog.Debian
"decnet-host (${CPACK_PACKAGE_VERSION}-${CPACK_DEBIAN_PACKAGE_RELEASE}) unstable; urgency=medium

  * Version ${CPACK_PACKAGE_VERSION}; changelog.gz tells what is new.

 -- ${CPACK_PACKAGE_CONTACT}  ${date}
")
file(RENAME ${doc}/CHANGELOG.md ${doc}/changelog)

file(GLOB pages ${root}/share/man/man*/*)
execute_process(COMMAND gzip -9n ${doc}/changelog.Debian ${doc}/changelog ${pages}
  COMMAND_ERROR_IS_FATAL ANY)
